# Functions of the script that changes a host. Comments are stripped before it is sent. Each step says `B`
# when it begins and `R` when it ended; `T` lines tell what a tool said. The content of files is only ever a
# word of the shell, printed by its builtin, so that no other process can see it in an argument.

begin() { step=$1; printf 'B %s\n' "$1"; }
ok() { printf 'R %s ok\n' "$step"; }
warn() { printf 'W %s %s\n' "$step" "$1"; }

# Ends a step that did not work: `failed`, or `changed` where the host is not as it was seen.
bad() { # WORD TEXT
	printf 'R %s %s\n' "$step" "$1"
	tell "$2"
	return 1
}

tell() {
	printf '%s\n' "$1" | tail -n 15 | while IFS= read -r line; do printf 'T %s\n' "$line"; done
}

# Says why nothing was begun, or what could not be ended well.
cannot() { # WORD TEXT
	printf 'X %s\n' "$1"
	tell "$2"
}

flush() { sync "$1" 2>/dev/null || sync; }

digest() {
	sum=$(sha256sum <"$1") || return 1
	printf '%s' "${sum%% *}"
}

# The lines of parts that this script touches: number $1 is now $2, or no line at all.
keep() { eval "line_$1=\$2"; }

save_ledger() {
	new=$(mktemp "$state/.ledger.XXXXXX" 2>&1) || { cannot ledger "$new"; return 1; }
	why=$({
		{
			printf '%s\n' "$header" "$mark"
			[ -z "$rest" ] || printf '%s\n' "$rest"
			i=0
			while [ "$i" -lt "$lines" ]; do
				eval "line=\$line_$i"
				[ -z "$line" ] || printf '%s\n' "$line"
				i=$((i + 1))
			done
		} >"$new"
	} 2>&1) && why=$(mv -fT -- "$new" "$state/ledger" 2>&1) || {
		rm -f -- "$new"
		cannot ledger "$why"
		return 1
	}
	flush "$state/ledger"
	flush "$state"
}

# Those lines of the ledger that this script does not touch.
read_rest() {
	rest=
	[ -e "$state/ledger" ] || return 0
	all=$(cat "$state/ledger")
	all=${all#*"$nl"}
	case $all in
	*"$nl"*) all=${all#*"$nl"} ;;
	*) all= ;;
	esac
	rest=$(
		set -f
		IFS=$nl
		for line in $all; do
			case $touched in
			*"$nl${line%%"$tab"*}$nl"*) ;;
			*) printf '%s\n' "$line" ;;
			esac
		done
	)
}

# The host must be the one, and in the state, that was looked at.
check() { # MACHINE-ID
	case $(command -v printf) in
	printf) ;;
	*) cannot shell "its sh has no printf of its own"; return 1 ;;
	esac
	seen=
	[ ! -r /etc/machine-id ] || read -r seen </etc/machine-id || :
	[ "$seen" = "$1" ] || { cannot machine "$seen"; return 1; }
	[ -d "$state" ] || why=$(mkdir -p -- "$state" 2>&1) || { cannot ledger "$why"; return 1; }
	[ -f "$state/lock" ] || why=$({ : >>"$state/lock"; } 2>&1) || { cannot ledger "$why"; return 1; }
}

locked() { # LEDGER-HASH
	flock -n 9 || { cannot busy ''; return 1; }
	seen=-
	[ ! -e "$state/ledger" ] || seen=$(digest "$state/ledger")
	[ "$seen" = "$1" ] || { cannot stale ''; return 1; }
	rm -f -- "$state"/.ledger.??????
	read_rest
	save_ledger || return 1
	steps
	save_ledger
}

# Whether the file at $1 still is as it was seen: its hash, or `absent`. What a package of this very run
# brought is no surprise. Sets origin, in case it is to be made.
as_seen() { # PATH HASH
	origin=created
	if [ -L "$1" ] || { [ -e "$1" ] && [ ! -f "$1" ]; }; then
		bad changed "it is not a regular file any more"
		return 1
	fi
	if [ -e "$1" ]; then
		origin=existed
		[ "$installed" = no ] || return 0
		[ "$(digest "$1")" = "$2" ] || bad changed "its content is not what it was when it was looked at"
	else
		[ "$2" = absent ] || bad changed "it is gone since it was looked at"
	fi
}

# Puts $content at a path: whole or not at all, and never readable for others on the way.
put() { # PATH MODE OWNER GROUP HASH SEEN-HASH
	parent=${1%/*} name=${1##*/}
	[ -d "${parent:-/}" ] || { bad failed "the directory ${parent:-/} does not exist"; return 1; }
	as_seen "$1" "$6" || return 1
	rm -f -- "$parent/.$name.holdfast-"??????
	new=$(mktemp "$parent/.$name.holdfast-XXXXXX" 2>&1) || { bad failed "$new"; return 1; }
	why=$({ printf '%s' "$content" >"$new"; } 2>&1) &&
		why=$(chown -- "$3:$4" "$new" 2>&1) && why=$(chmod -- "$2" "$new" 2>&1) &&
		{ [ "$(digest "$new")" = "$5" ] || { why="it was not written whole"; false; }; } &&
		flush "$new" && why=$(mv -fT -- "$new" "$1" 2>&1) || {
		rm -f -- "$new"
		bad failed "$why"
		return 1
	}
	flush "${parent:-/}"
}

make_directory() { # PATH MODE OWNER GROUP
	origin=created
	if [ -d "$1" ] && [ ! -L "$1" ] && [ "$installed" = yes ]; then
		origin=existed
	elif [ -e "$1" ] || [ -L "$1" ]; then
		bad changed "something is there since it was looked at"
		return 1
	else
		why=$(mkdir -- "$1" 2>&1) || { bad failed "$why"; return 1; }
	fi
	why=$(chown -- "$3:$4" "$1" 2>&1) && why=$(chmod -- "$2" "$1" 2>&1) || { bad failed "$why"; return 1; }
}

set_mode() { # TEST PATH MODE OWNER GROUP
	if [ -L "$2" ] || [ ! "$1" "$2" ]; then
		bad changed "it is not what it was when it was looked at"
		return 1
	fi
	why=$(chown -- "$4:$5" "$2" 2>&1) && why=$(chmod -- "$3" "$2" 2>&1) || { bad failed "$why"; return 1; }
}

remove_file() { # PATH HASH
	as_seen "$1" "$2" || return 1
	rm -f -- "${1%/*}/.${1##*/}.holdfast-"??????
	why=$(rm -f -- "$1" 2>&1) || { bad failed "$why"; return 1; }
	flush "${1%/*}/"
}

# What a run that died left beside a file that is ours no more.
clean() { rm -f -- "${1%/*}/.${1##*/}.holdfast-"??????; }

remove_directory() {
	[ -e "$1" ] || [ -L "$1" ] || return 0
	why=$(rmdir -- "$1" 2>&1) && return 0
	if [ -d "$1" ] && [ ! -L "$1" ] && [ -n "$(ls -A -- "$1" 2>/dev/null)" ]; then
		bad changed "something is in it since it was looked at"
	else
		bad failed "$why"
	fi
	return 1
}

# apt-get with nothing to ask and no hurry; it never removes, and never replaces a file of the user's.
apt() {
	DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -y -q -o DPkg::Lock::Timeout=120 \
		-o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef "$@" 9>&- 2>&1
}

# DPkg::Lock::Timeout does not cover the lists.
update() {
	updated=yes tries=0
	while :; do
		out=$(apt update) && return 0
		case $out in *'/var/lib/apt/lists/lock'*) ;; *) return 1 ;; esac
		[ "$tries" -lt 24 ] || return 1
		tries=$((tries + 1))
		sleep 5
	done
}

old_lists() {
	then=$(stat -c %Y /var/lib/apt/lists 2>/dev/null) || return 0
	[ $(($(date +%s) - then)) -gt 86400 ]
}

install() {
	updated=no
	if [ -n "$(dpkg --audit 2>&1 9>&-)" ]; then
		out=$(DEBIAN_FRONTEND=noninteractive dpkg --force-confold --force-confdef --configure -a 2>&1 9>&-) ||
			{ bad failed "$out"; return 1; }
	fi
	if old_lists || ! apt -s --no-remove install "$@" >/dev/null; then
		update || warn "the package lists could not be brought up to date"
	fi
	if ! out=$(apt --no-remove install "$@"); then
		case $updated$out in
		no*'Failed to fetch'* | no*'404 '*) update && out=$(apt --no-remove install "$@") ;;
		*) false ;;
		esac || { bad failed "$out"; return 1; }
	fi
	installed=yes
	for p do
		case $(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null) in
		?i*) ;;
		*) bad failed "apt-get reported success, but $p is not installed: is it a virtual package?"; return 1 ;;
		esac
	done
}

systemd() { # WORD...
	out=$(timeout 90 systemctl "$@" 2>&1 9>&-)
	rc=$?
	[ "$rc" = 0 ] || [ "$rc" = 124 ] || [ "$rc" = 143 ] || { bad failed "$out"; return 1; }
}

active() { systemctl show -p ActiveState --value "$1" 2>/dev/null 9>&-; }

# Differs from one start of a unit to the next.
invocation() { systemctl show -p InvocationID --value "$1" 2>/dev/null 9>&-; }

journal() { journalctl -q -n 6 --no-pager -o cat "$@" 2>&1 9>&-; }

# Why a unit does not run. What it said itself in its last start comes first, where one line is all that is shown.
dead() { # UNIT STATE
	id=$(invocation "$1") own=''
	# Of who ended at once, journald may not know any more in which start it spoke.
	since=$(systemctl show -p InactiveExitTimestamp --value "$1" 2>/dev/null 9>&-)
	[ "$2" != failed ] || [ -z "$since" ] || own=$(journal --since "$since" "_SYSTEMD_UNIT=$1")
	[ -z "$own" ] || own="$own
$(journal "INVOCATION_ID=$id")"
	bad failed "it is ${2:-in no state that systemctl tells}
${own:-$(journal -u "$1")}
$said"
}

# Starts or restarts a unit, and stays until it is up and has been so for a second. One that was started since it was
# looked at, as packages do, may have read its files before they were written.
up() { # VERB UNIT
	verb=$1
	case $verb$(active "$2") in
	startactive | startactivating | startreloading) verb=restart ;;
	start*) systemctl reset-failed "$2" >/dev/null 2>&1 9>&- ;;
	esac
	said=$(timeout 90 systemctl "$verb" "$2" 2>&1 9>&-)
	case $? in
	0 | 124 | 143) ;;
	*) dead "$2" "$(active "$2")"; return 1 ;;
	esac
	tries=0 held=no
	while :; do
		now=$(active "$2")
		case $now in
		active | reloading | refreshing)
			this=$(invocation "$2")
			[ "$held" != yes ] || [ "$this" != "$first" ] || return 0
			if [ "$held" = yes ]; then
				dead "$2" "started again and again by systemd"
				return 1
			fi
			held=yes first=$this
			;;
		activating | deactivating)
			held=no
			if [ "$tries" -ge 15 ]; then
				warn "it is still $now"
				return 0
			fi
			;;
		*) dead "$2" "$now"; return 1 ;;
		esac
		tries=$((tries + 1))
		sleep 1
	done
}
