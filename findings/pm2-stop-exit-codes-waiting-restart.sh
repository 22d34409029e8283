#!/bin/sh
# PM2 7.0.4: with a restart delay, an app that stop_exit_codes has stopped is "waiting restart".
#
# An app that exits with one of `stop_exit_codes` is not restarted, and its status is "stopped". If
# `restart_delay` or `exp_backoff_restart_delay` is set as well, the app is not restarted either, but
# its status stays "waiting restart", and with the latter PM2's log announces a restart that never
# happens. In `pm2 list`, an app that needs attention then looks as if it were about to recover.
#
# Seen on 2026-11-28 with Node 22 on Linux x86_64. This is why deploy/ecosystem.config.cjs has
# stop_exit_codes and no delay.
set -eu

folder=$(mktemp -d)
export PM2_HOME="$folder/home" PM2_DISABLE_VERSION_CHECK=true
pm2() { "$folder/node_modules/.bin/pm2" "$@"; }
trap 'pm2 kill > /dev/null 2>&1 || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --ignore-scripts --no-audit --no-fund pm2@7.0.4 > npm.log 2>&1 ||
    { cat npm.log; exit 1; }

cat > ecosystem.config.cjs <<'EOF'
const app = { script: "sh", interpreter: "none", args: ["-c", "exit 2"], stop_exit_codes: [2] };
module.exports = {
  apps: [
    { ...app, name: "plain" },
    { ...app, name: "delay", restart_delay: 100 },
    { ...app, name: "backoff", exp_backoff_restart_delay: 100 },
  ],
};
EOF
pm2 start ecosystem.config.cjs > start.log

# Long after the delays have passed.
sleep 3
pm2 jlist > list.json
seen=$(node -e '
  const text = require("fs").readFileSync("list.json", "utf8");
  for (const app of JSON.parse(text.slice(text.indexOf("[{"))))
    console.log(`${app.name}: ${app.pm2_env.status}, ${app.pm2_env.restart_time} restarts`);
')
expected='plain: stopped, 0 restarts
delay: waiting restart, 0 restarts
backoff: waiting restart, 0 restarts'
if [ "$seen" = "$expected" ]; then
    echo "as before:"
    echo "$seen"
else
    echo "changed, it is now:"
    echo "$seen"
    exit 1
fi
