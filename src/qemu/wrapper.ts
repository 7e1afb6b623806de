import { closeSync, openSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * The wrappers that `dog tools install` puts on PATH in front of the real tools. A call without "sheepdog" in it costs
 * one small shell and no more.
 */
export const wrappedTools = ['qemu-img', 'qemu-io'] as const;
export type WrappedTool = (typeof wrappedTools)[number];

/** The second line of a wrapper begins with it: wrappers know each other by it, and pass each other by. */
export const WRAPPER_MARK = '# sheepfold-qemu-wrapper';
const VERSION = 1;

/** Names the real tool, for a host that has it elsewhere: SHEEPFOLD_QEMU_IMG, SHEEPFOLD_QEMU_IO. */
export function toolVariable(tool: string): string {
  return `SHEEPFOLD_${tool.toUpperCase().replaceAll('-', '_')}`;
}

/** Whether the file is a wrapper of any version. */
export function isWrapper(path: string): boolean {
  const head = Buffer.alloc(64);
  const fd = openSync(path, 'r');
  try {
    const length = readSync(fd, head, 0, head.length, 0);
    return (head.subarray(0, length).toString('latin1').split('\n')[1] ?? '').startsWith(WRAPPER_MARK);
  } finally {
    closeSync(fd);
  }
}

/** The text of a wrapper, for any POSIX shell. */
export function wrapperScript(tool: WrappedTool): string {
  const helper = fileURLToPath(new URL(`./${tool}-main.js`, import.meta.url));
  const variable = toolVariable(tool);
  return `#!/bin/sh
${WRAPPER_MARK} ${VERSION}
# Put here by "dog tools install"; "dog tools remove" takes it away. Calls that name a sheepdog image go to Sheepfold,
# all others straight to the next ${tool} on PATH.
case "$*" in
*sheepdog*) exec ${quote(process.execPath)} ${quote(helper)} "$@" ;;
esac
[ -z "$${variable}" ] || exec "$${variable}" "$@"
set -f
IFS=:
for directory in $PATH; do
  tool="\${directory:-.}/${tool}"
  [ -f "$tool" ] && [ -x "$tool" ] || continue
  mark=
  { read -r mark; read -r mark; } < "$tool" 2> /dev/null
  case "$mark" in '${WRAPPER_MARK}'*) continue ;; esac
  exec "$tool" "$@"
done
echo "${tool}: the real ${tool} is not on PATH: install QEMU's tools" >&2
exit 127
`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
