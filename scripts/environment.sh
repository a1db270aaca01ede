# Sourced by the other scripts. Makes a virtual environment in the project's folder and installs onnxnull into it:
#   prepare [EXTRA]     afterwards "$venv/bin/python" is ready, with the optional dependencies EXTRA ("dev", say)
# It installs again only when pyproject.toml has changed.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

prepare() {
    local extra=${1:-} wanted=".${1:+[$1]}" stamp candidate
    stamp="$venv/.installed${extra:+-$extra}"
    if [ ! -x "$venv/bin/python" ]; then
        for candidate in python3.13 python3.12 python3.11 python3 python; do
            if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
                echo "making a virtual environment in ${venv#"$root"/} ..." >&2
                "$candidate" -m venv "$venv" || return 1
                break
            fi
        done
        [ -x "$venv/bin/python" ] || { echo "onnxnull needs Python 3.11 or newer with the venv module; found none" >&2; return 1; }
    fi
    # what `dev` installs serves every script but the one that needs NVIDIA's libraries
    if ! cmp -s "$root/pyproject.toml" "$stamp" &&
        { [ "$extra" = cuda ] || ! cmp -s "$root/pyproject.toml" "$venv/.installed-dev"; }; then
        echo "installing onnxnull and its dependencies ..." >&2
        (cd "$root" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$wanted") || return 1
        cp "$root/pyproject.toml" "$stamp"
    fi
}
