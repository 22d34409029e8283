#!/bin/sh
# Prints the Python to create .venv with: the one that is named ($1), else python3, else another on
# PATH. Reports on standard error what it skipped and why; fails if none is suitable.
#
# The lock files are checked for these versions (`make check-locks`).
oldest=11
newest=14

# Whether the command $1 is suitable; sets `is` to its description.
is_suitable() {
    if ! place=$(command -v "$1"); then
        is="$1 is not on PATH"
        return 1
    fi
    output=$("$1" -c "
import sys
print('Python %d.%d' % sys.version_info[:2])
if not (3, $oldest) <= sys.version_info[:2] <= (3, $newest):
    sys.exit(70)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(71)
" 2>&1)
    case $? in
    0) is="$1 is $output" ;;
    70) is="$1 is $output" && return 1 ;;
    71)
        is="$1 is $output, without the module ensurepip, which creates .venv
  (Debian and Ubuntu have it in the package python3-venv)"
        return 1
        ;;
    *)
        case $output in
        *pyenv:*)
            is="$1 is a shim of pyenv ($place) that cannot start:
$output
  \`pyenv versions\` lists what is installed, \`pyenv shell 3.13\` selects one for this shell"
            ;;
        *)
            is="$1 ($place) cannot start:
$output"
            ;;
        esac
        return 1
        ;;
    esac
}

if [ -n "${1-}" ]; then
    is_suitable "$1" && echo "$1" && exit
    first=$is
else
    is_suitable python3 && echo python3 && exit
    first=$is
    for version in 13 12 11 14; do
        is_suitable "python3.$version" || continue
        echo "$first" >&2
        echo "$is; it is used instead" >&2
        echo "python3.$version"
        exit
    done
fi
{
    echo "$first"
    echo "Python 3.$oldest to 3.$newest is needed. To choose one: make PYTHON=/path/to/python3.13 ..."
} >&2
exit 1
