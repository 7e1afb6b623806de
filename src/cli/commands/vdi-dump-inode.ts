import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { INODE_HEADER_BYTES, INODE_INDEX_OFFSET, inodeHeader } from '../../wire/inode.js';
import type { Context } from '../context.js';
import { Exit, exitCodes } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';

/** `vdi object dump-inode`: shows what an inode file says, without a cluster. */
export function vdiDumpInodeCommand(parent: Command, runner: Runner): void {
  addLeaf(parent, runner, {
    usage: 'dump-inode <file>',
    summary: 'show the inode object that a file holds; needs no cluster',
    details: 'FILE is an object file of a store whose name begins with 80.',
    examples: ['dog vdi object dump-inode 80ed202b00000000'],
    run: dump,
  });
}

async function dump(context: Context, [path]: string[]): Promise<void> {
  const bytes = readInode(path!);
  const header = inodeHeader.decode(bytes);
  const entries = indexEntries(bytes);
  if (context.json) {
    const plain = Object.entries(header).map(([key, value]) => [
      key,
      typeof value === 'bigint' ? value.toString() : value,
    ]);
    return context.printJson({ ...Object.fromEntries(plain), entries });
  }
  const fields: [string, string | number | bigint][] = [
    ['name', header.name],
    ['tag', header.tag],
    ['create_time', header.createTime.toString(16)],
    ['snap_ctime', header.snapTime.toString(16)],
    ['vm_clock_nsec', header.vmClockNsec],
    ['vdi_size', header.vdiSize],
    ['vm_state_size', header.vmStateSize],
    ['copy_policy', header.copyPolicy],
    ['store_policy', header.storePolicy],
    ['nr_copies', header.copies],
    ['block_size_shift', header.blockSizeShift],
    ['snap_id', header.snapId],
    ['vdi_id', header.vid.toString(16)],
    ['parent_vdi_id', header.parentVid.toString(16)],
    ['btree_counter', header.btreeCounter],
  ];
  await context.print(fields.map(([key, value]) => `${key}: ${value}\n`).join(''));
  const index = entries.map(([at, vid]) => ` ${at}:${vid.toString(16)}`).join('');
  // Reference counts are computed, not kept (D-3): there is nothing to show, as in a new volume of the original.
  await context.print(`data_vdi_id:${index}\ngref:\n`);
}

function readInode(path: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const reason = code === 'ENOENT' ? 'No such file or directory' : (error as Error).message;
    throw new Exit(exitCodes.failure, `failed to open inode object file: ${reason}`, { cause: error });
  }
  if (bytes.length >= INODE_HEADER_BYTES) return bytes;
  throw new Exit(exitCodes.failure, `${path} is no inode object: ${bytes.length} bytes are too few`);
}

function indexEntries(bytes: Buffer): [number, number][] {
  const entries: [number, number][] = [];
  const { vdiSize, blockSizeShift } = inodeHeader.decode(bytes);
  const objects = Number((vdiSize + (1n << BigInt(blockSizeShift)) - 1n) >> BigInt(blockSizeShift));
  for (let index = 0; index < objects; index++) {
    const at = INODE_INDEX_OFFSET + index * 4;
    if (at + 4 > bytes.length) break;
    const vid = bytes.readUInt32LE(at);
    if (vid !== 0) entries.push([index, vid]);
  }
  return entries;
}
