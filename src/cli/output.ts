import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { VdiInfo } from '../control/api.js';
import { formatMinute, formatSize } from './sizes.js';

/** Everything that is printed as a table, in the original's columns: other programs split these lines. */

/** Writes and waits until the reader takes it, so that large output never piles up. Rejects with EPIPE. */
export async function write(stream: Writable, data: string | Uint8Array): Promise<void> {
  if (stream.destroyed) throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
  if (!stream.write(data)) await once(stream, 'drain');
}

export function isBrokenPipe(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED';
}

export const vdiListHeading =
  '  Name        Id    Size    Used  Shared    Creation time   VDI id  Copies  Tag   Block Size Shift';

function flagOf(vdi: VdiInfo, working: string): string {
  if (vdi.snapshot) return 's';
  return vdi.clone ? 'c' : working;
}

export function vdiListRow(vdi: VdiInfo): string {
  const sizes = [vdi.sizeBytes, vdi.usedBytes, vdi.sharedBytes].map((bytes) => formatSize(bytes).padStart(7));
  const left = `${flagOf(vdi, ' ')} ${vdi.name.padEnd(8)} ${String(vdi.snapId).padStart(5)} ${sizes.join(' ')}`;
  const right = `${String(vdi.copies).padStart(6)} ${vdi.tag.padStart(13)} ${String(vdi.blockSizeShift).padStart(3)}`;
  return `${left} ${formatMinute(vdi.createdMs)}  ${vdi.vid.toString(16).padStart(7)} ${right}`;
}

/**
 * What old libvirt can read of a list: it takes each name for a volume of its own, wants each once, and does not
 * undo escapes.
 */
export function readableByLibvirt(vdi: VdiInfo): boolean {
  return !vdi.snapshot && !/[\s\\]/.test(vdi.name);
}

/** `FLAG NAME SNAPID SIZE USED SHARED CTIME VID COPIES TAG SHIFT`; white space in names is escaped. */
export function vdiListRaw(vdi: VdiInfo, options: { clonesAsVolumes?: boolean } = {}): string {
  const name = vdi.name.replace(/[\s\\]/g, '\\$&');
  const { sizeBytes, usedBytes, sharedBytes, tag, blockSizeShift } = vdi;
  const seconds = Math.floor(vdi.createdMs / 1000);
  const sizes = `${sizeBytes} ${usedBytes} ${sharedBytes}`;
  const id = vdi.vid.toString(16);
  const flag = options.clonesAsVolumes === true && !vdi.snapshot ? '=' : flagOf(vdi, '=');
  return `${flag} ${name} ${vdi.snapId} ${sizes} ${seconds} ${id} ${vdi.copies} ${tag} ${blockSizeShift}`;
}

interface Tree {
  label: string;
  children: Tree[];
}

/**
 * One line per working volume or family branch of a name, snapshots by their time, in the original's drawing:
 *
 *     alpha---[2026-11-22 23:55]-+-[2026-11-22 23:55]---(you are here)
 *                                `-[2026-11-22 23:58]
 */
export function vdiTree(vdis: readonly VdiInfo[]): string {
  const nodes = new Map<number, Tree & { name: string }>();
  const roots: Tree[] = [];
  for (const vdi of vdis) {
    const label = vdi.snapshot ? `[${formatMinute(vdi.createdMs)}]` : '(you are here)';
    const node = { label, children: [], name: vdi.name };
    nodes.set(vdi.vid, node);
    const parent = nodes.get(vdi.parentVid);
    // A clone starts a line of its own: lines are per name.
    if (parent !== undefined && parent.name === vdi.name) parent.children.push(node);
    else roots.push({ label: vdi.name, children: [node] });
  }
  return roots.map((root) => drawTree(root, '')).join('');
}

/** `indent` is what stands under this label on the following lines, left of its branches. */
function drawTree(tree: Tree, indent: string): string {
  if (tree.children.length === 0) return `${tree.label}\n`;
  const under = indent + ' '.repeat(tree.label.length);
  return tree.children
    .map((child, index) => {
      const last = index === tree.children.length - 1;
      const inner = `${under} ${last ? ' ' : '|'} `;
      if (index === 0) return tree.label + (last ? '---' : '-+-') + drawTree(child, inner);
      return `${under} ${last ? '`-' : '|-'}${drawTree(child, inner)}`;
    })
    .join('');
}

/** Aligned `key: value` lines. */
export function formatFields(fields: readonly (readonly [string, string])[]): string {
  const width = Math.max(...fields.map(([key]) => key.length)) + 2;
  return fields.map(([key, value]) => `${`${key}:`.padEnd(width)}${value}\n`).join('');
}
