# What the scripts share; sourced, never run. Sets root, venv and python, and the compile cache.
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="${SYNTHSAE_VENV:-$root/.venv}"
case "$venv" in /*) ;; *) venv="$PWD/$venv" ;; esac
python="$venv/bin/python"
setup_stamp="$venv/.setup-done"
# another environment's libraries must not shine into ours
unset PYTHONHOME PYTHONPATH

# XLA's programs are kept between runs, so only the first one pays for compiling
cache="${JAX_COMPILATION_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-$root}/.cache}/synthsae_jax/xla}"
if mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ]; then
  export JAX_COMPILATION_CACHE_DIR="$cache"
fi

say() { printf '%s\n' "$*"; }
die() {
  printf '%s\n' "$*" >&2
  exit 1
}

# usage SCRIPT: prints its opening comment
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$1"; }

# python_version COMMAND: prints its version if it can make our environment. Exit status 1: no
# such command, or out of range; 2: in range, but Python's own venv and ensurepip are missing.
python_version() {
  "$1" - 2>/dev/null <<'PY'
import sys, sysconfig
fits = sys.implementation.name == "cpython" and (3, 11) <= sys.version_info[:2] <= (3, 13)
if not fits or sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit(1)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(2)
print("%d.%d.%d" % sys.version_info[:3])
PY
}

# tree_hash PATH...: one hash over names and contents of all files below
tree_hash() { (cd "$root" && "$python" scripts/tree_hash.py "$@"); }
