# Functions of the script that looks at a host. It writes nothing. Comments are stripped before it is sent.
# Answers are lines with a letter first; paths are told by number, never by name.

# Says what cannot be told at all, and ends.
cannot() { printf 'X %s\n' "$*"; exit 0; }

need() {
	missing=
	for tool do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
	[ -z "$missing" ] || cannot "tools$missing"
}

# A path that the shell does not find is absent only if the kernel says so.
gone() { # NUMBER PATH
	why=$(stat -c %f -- "$2" 2>&1)
	case $why in
	*'No such file or directory' | *'Not a directory') printf 'A %s\n' "$1" ;;
	*) cannot "path $1 $why" ;;
	esac
}

# Looks at paths in two calls, however many they are.
paths() { # KIND FIRST-NUMBER PATH...
	kind=$1 n=$2 have=
	shift 2
	for p do
		shift
		known="$known$kind $p$nl"
		if [ -e "$p" ] || [ -L "$p" ]; then
			set -- "$@" "$p"
			have="$have $n"
		else
			gone "$n" "$p"
		fi
		n=$((n + 1)) count=$((count + 1))
	done
	[ $# != 0 ] || return 0
	printf 'S%s\n' "$have"
	stat -c 'N %f %u %g %s %Y %U %G' -- "$@"
	[ "$kind" = file ] || return 0
	regular=
	for p do
		shift
		i=${have# } i=${i%% *} have=${have#" $i"}
		if [ -f "$p" ] && [ ! -L "$p" ]; then
			set -- "$@" "$p"
			regular="$regular $i"
		fi
	done
	[ $# != 0 ] || return 0
	printf 'F%s\n' "$regular"
	sha256sum -- "$@"
}

# Looks at what the ledger names and the manifest does not.
others() { # FIRST-NUMBER
	m=$1
	set -f
	IFS=$nl
	for line in $entries; do
		unset IFS
		key=${line%%"$tab"*}
		case $nl$known in
		*"$nl$key$nl"*) ;;
		*)
			case $key in
			'file '*) paths file "$m" "${key#file }" ;;
			'directory '*)
				p=${key#directory }
				paths directory "$m" "$p"
				[ ! -d "$p" ] || [ -L "$p" ] || printf 'D %s %s\n' "$m" "$(ls -A -- "$p" | wc -l)"
				;;
			'service '*) units="$units ${key#service }" unit_numbers="$unit_numbers $m" ;;
			esac
			;;
		esac
		m=$((m + 1))
	done
	unset IFS
	set +f
}

ledger() {
	[ -e "$state/ledger" ] || return 0
	[ "$(stat -c %s -- "$state/ledger")" -le 1048576 ] || cannot 'ledger it is larger than 1 MiB'
	entries=$(cat "$state/ledger") || cannot 'ledger it could not be read'
	set -f
	IFS=$nl
	for line in $entries; do printf 'L %s\n' "$line"; done
	unset IFS
	set +f
	# What follows the header and the mark.
	entries=${entries#*"$nl"}
	case $entries in
	*"$nl"*) entries=${entries#*"$nl"} ;;
	*) entries= ;;
	esac
}

packages() {
	need dpkg-query
	dpkg-query -W -f 'P ${Package} ${db:Status-Abbrev} ${Version}\n' "$@" 2>/dev/null
	printf 'K %s\n' "$?"
}

services() {
	[ -n "$units" ] || return 0
	need systemctl
	printf 'U%s\n' "$unit_numbers"
	TZ=UTC systemctl show -p Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,ActiveEnterTimestamp $units 2>/dev/null
	printf 'V %s\n' "$?"
}

# Who this is, and whether it can be looked at.
start() {
	printf 'holdfast look 1\n'
	need id cat stat sha256sum flock uname ls wc
	uid=$(id -u)
	[ "$uid" = 0 ] || cannot "root $uid"
	machine=
	[ ! -r /etc/machine-id ] || read -r machine </etc/machine-id || :
	printf 'machine %s\nhost %s\n' "$machine" "$(uname -n)"
	if [ -e "$state/lock" ] && ! flock -n -s 9 9<"$state/lock"; then cannot busy; fi
}
