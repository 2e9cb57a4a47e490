#!/usr/bin/env bash
# Starts the program: ./webui.sh [flags]          Runs its tests: ./webui.sh test [pytest arguments]
# PYTHON=/path/to/python chooses the interpreter; webui-user.sh, if there is one, may set it and COMMANDLINE_ARGS.
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
[ -f webui-user.sh ] && . ./webui-user.sh

for candidate in "${PYTHON:-}" "${python_cmd:-}" python3 python3.12 python3.11 python3.13 python; do
    if [ -n "$candidate" ] &&
        "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        exec "$candidate" tools/launcher.py "$@"
    fi
done
echo "Python 3.11, 3.12 or 3.13 was not found: install one, or name it with PYTHON=/path/to/python." >&2
exit 1
