// All workers under PM2: docs/deploy/pm2.md. `pm2 start deploy/ecosystem.config.cjs && pm2 save`
const path = require("node:path");

const secrets = process.env.SECRETS ?? "/etc/agency-workers";

module.exports = {
  apps: [
    {
      name: "agency-workers",
      cwd: path.join(__dirname, ".."),
      script: ".venv/bin/python",
      interpreter: "none",
      args: "-m server",
      env: {
        SUPABASE_URL: process.env.SUPABASE_URL,
        // Files, because `pm2 save` writes the environment to ~/.pm2/dump.pm2 in plain text.
        SUPABASE_SERVICE_ROLE_KEY_FILE: path.join(secrets, "supabase_service_role_key"),
        SLACK_BOT_TOKEN_FILE: path.join(secrets, "slack_bot_token"),
      },
      // PM2 sends SIGINT, and SIGKILL after this many milliseconds (default: 1600). A server stops
      // within 8 seconds.
      kill_timeout: 15000,
      // Invalid settings, which have to be fixed first. With a restart delay, PM2 would show such an
      // app as "waiting restart" forever.
      stop_exit_codes: [2],
      // An app that exits is restarted, unless it has exited this often right after its start.
      min_uptime: 10000,
      max_restarts: 20,
      max_memory_restart: "512M",
      merge_logs: true,
    },
  ],
};
