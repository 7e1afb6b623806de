import { readFileSync } from 'node:fs';

/** The file that libvirt calls: it must cost next to nothing for domains without a volume of ours. */

const MARK = '# sheepfold-libvirt-hook 1';
/** Libvirt waits for a hook without an end of its own; the program's own deadlines are shorter. */
const DEADLINE_S = 30;

export interface HookScript {
  /** The words that run `dog` with its address: `node`, `main.js`, `-a`, ... */
  readonly dog: readonly string[];
  /** More words for `dog vm hook`. */
  readonly words: readonly string[];
  /** The directory did not exist before. */
  readonly madeDirectory: boolean;
}

/**
 * A POSIX shell script. It reads all of its input (libvirt takes a closed pipe for a failure), and goes on only for a
 * domain with a disk on NBD and an operation that concerns us. What the program says on standard error is libvirt's
 * complaint when it fails, and goes to the system's log when it does not: libvirt drops it then.
 */
export function hookScript({ dog, words, madeDirectory }: HookScript): string {
  const [program, main] = dog;
  const call = [...dog, 'vm', 'hook', ...words].map(quote).join(' ');
  return `#!/bin/sh
${MARK}
# Installed by 'dog vm hooks install'; 'dog vm hooks remove' takes it away. Do not edit: it is written anew.
# made-directory: ${madeDirectory ? 'yes' : 'no'}
domain=$(cat)
case $2 in prepare | started | release | migrate | restore) ;; *) exit 0 ;; esac
case $domain in *"protocol='nbd'"*) ;; *) exit 0 ;; esac
# A Sheepfold that was removed keeps no domain from starting.
[ -x ${quote(program!)} ] && [ -f ${quote(main!)} ] || exit 0
limit=
command -v timeout >/dev/null 2>&1 && limit='timeout -k 2 ${DEADLINE_S}'
{
  said=$(printf '%s\\n' "$domain" | $limit ${call} -- "$@" 2>&1 >&3 3>&-)
  status=$?
} 3>&1
if [ $status -ne 0 ]; then
  [ $status -ne 124 ] || said="no answer within ${DEADLINE_S} s"
  printf 'sheepfold: %s\\n' "$said" >&2
  exit 1
fi
[ -z "$said" ] || ! command -v logger >/dev/null 2>&1 || logger -t sheepfold -p daemon.warning -- "$1: $said"
exit 0
`;
}

/** One word for the shell, whatever is in it. */
function quote(word: string): string {
  return /^[\w./:@-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** What is known of an installed script; undefined: the file is none of ours. */
export function readHookScript(path: string): { madeDirectory: boolean; text: string } | undefined {
  const text = readFileSync(path, 'utf8');
  if (text.split('\n', 2)[1] !== MARK) return undefined;
  return { madeDirectory: /^# made-directory: yes$/m.test(text), text };
}
