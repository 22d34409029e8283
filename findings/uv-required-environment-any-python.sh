#!/bin/sh
# uv 0.13.9: one required environment for Python 3.11 to 3.14 requires less than four, one for each.
#
# `required-environments` makes uv's universal resolution fail, or choose an older release, if a
# package has no wheel for an environment. watchdog 4.0.2 has wheels for macOS on arm64 up to Python
# 3.13, and none for 3.14. With wheels as the only choice:
#
# - required for `python_version >= '3.11' and python_version < '3.15'`: uv silently locks
#   watchdog 4.0.2. A wheel for any one of the Pythons satisfies the line.
# - required for the same four Pythons in four lines: uv refuses, and names 3.14.
# - the lock of the first: uv installs it on 3.13 and refuses to on 3.14, because there is no wheel.
#
# So the union of environments and the list of them differ, and a line without a version, which all
# examples show, guarantees only one Python. `uv lock` does the same as `uv pip compile`, also with
# `requires-python = ">=3.11,<3.15"`.
#
# Seen on 2026-11-28 on Linux x86_64. This is why pyproject.toml has a line for each Python, and
# why `make check-locks` checks the wheels themselves.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv tools
tools/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
uv=$folder/tools/bin/uv

echo "watchdog==4.0.2" > requirements.in
mac="sys_platform == 'darwin' and platform_machine == 'arm64'"

# Locks with wheels alone, for the environments that are given; prints uv's errors.
lock() {
    {
        printf '[project]\nname = "example"\nversion = "0"\nrequires-python = ">=3.11"\n'
        printf '[tool.uv]\nrequired-environments = [\n'
        printf '    "%s",\n' "$@"
        printf ']\n'
    } > pyproject.toml
    "$uv" pip compile --quiet --universal --python-version 3.11 --only-binary :all: \
        --generate-hashes --no-header requirements.in --output-file lock.txt 2>&1
}

# Whether the lock can be installed on macOS on arm64 with that Python; prints uv's errors.
install() {
    "$uv" pip install --quiet --dry-run --target nowhere --python-platform aarch64-apple-darwin \
        --python-version "$1" --only-binary :all: --no-deps --require-hashes -r lock.txt 2>&1
}

changed=0

# expect WHAT STATUS TEXT COMMAND...: the command ends with that status and says that text
expect() {
    what=$1 status=$2 text=$3
    shift 3
    got=0
    said=$("$@") || got=$?
    case $said in
    *"$text"*) found=yes ;;
    *) found=no ;;
    esac
    if [ "$got" -eq "$status" ] && [ "$found" = yes ]; then
        echo "as before: $what"
    else
        echo "CHANGED: $what; got status $got and:"
        echo "$said"
        changed=1
    fi
}

expect "four lines are refused for Python 3.14" 1 \
    "watchdog==4.0.2 has no \`python_full_version == '3.14.*'" \
    lock "$mac and python_version == '3.11'" "$mac and python_version == '3.12'" \
    "$mac and python_version == '3.13'" "$mac and python_version == '3.14'"
expect "one line for the same Pythons is satisfied" 0 "" \
    lock "$mac and python_version >= '3.11' and python_version < '3.15'"
expect "that lock installs with Python 3.13" 0 "" install 3.13
expect "that lock does not install with Python 3.14" 1 "watchdog==4.0.2 has no usable wheels" \
    install 3.14
exit $changed
