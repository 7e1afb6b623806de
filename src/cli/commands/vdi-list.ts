import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { VdiInfo } from '../../control/api.js';
import { openText, vdiRef } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import {
  formatFields,
  readableByLibvirt,
  vdiListHeading,
  vdiListRaw,
  vdiListRow,
  vdiTree,
} from '../output.js';
import { formatSecond, formatSize } from '../sizes.js';

/** Commands that look at volumes: list, tree, info. */
export function vdiListCommands(parent: Command, runner: Runner): void {
  addLeaf<{ object?: string }>(parent, runner, {
    usage: 'list [name]',
    summary: 'list volumes and snapshots',
    details: `Columns: s = snapshot, c = clone; snapshot id; size; space of its own; space shared with its family.
Raw lines: FLAG NAME SNAPID SIZE USED SHARED CTIME VID COPIES TAG SHIFT, white space in names escaped.`,
    examples: ['dog vdi list', 'dog vdi list first -r', 'dog vdi list --json'],
    options: [['-o, --object <oid>', 'only the volumes that refer to this object (hexadecimal)']],
    run: list,
  });
  addLeaf(parent, runner, {
    usage: 'tree [name]',
    summary: 'draw volumes with their snapshots as a tree',
    examples: ['dog vdi tree'],
    run: async (context, [name]) => {
      const vdis = await fetchVdis(context, name);
      if (context.json) await context.printJson(vdis);
      else await context.print(vdiTree(vdis));
    },
  });
  addLeaf<{ snapshot?: string }>(parent, runner, {
    usage: 'info <name>',
    summary: 'everything about one volume or snapshot',
    examples: ['dog vdi info first', 'dog vdi info first -s before-upgrade --json'],
    options: [['-s, --snapshot <snapshot>', 'a snapshot, by tag or id']],
    run: info,
  });
}

async function list(context: Context, [name]: string[], options: { object?: string }): Promise<void> {
  const oid = options.object === undefined ? undefined : parseOid(options.object);
  const quiet = context.raw || context.json;
  if (!quiet) await context.printLine(vdiListHeading);
  let vdis = await fetchVdis(context, name);
  if (oid !== undefined) vdis = await referring(context, vdis, oid);
  if (context.json) return context.printJson(vdis);
  const clonesAsVolumes = context.libvirtLists;
  if (context.raw && context.libvirtLists) vdis = vdis.filter(readableByLibvirt);
  const row = (vdi: VdiInfo): string =>
    context.raw ? vdiListRaw(vdi, { clonesAsVolumes }) : vdiListRow(vdi);
  await context.print(vdis.map((vdi) => `${row(vdi)}\n`).join(''));
}

/** Ascending by id. An unformatted cluster has no volumes: that is an empty list, as in the original. */
export async function fetchVdis(context: Context, name?: string): Promise<VdiInfo[]> {
  try {
    const vdis = await context.call('vdi.list', name === undefined ? {} : { name });
    return vdis.filter((vdi) => name === undefined || vdi.name === name).sort((a, b) => a.vid - b.vid);
  } catch (error) {
    if (AppError.isCode(error, 'wait-for-format', 'no-vdi')) return [];
    throw error;
  }
}

interface Oid {
  inode: boolean;
  vid: number;
  index: number;
}

function parseOid(text: string): Oid {
  const digits = text.replace(/^0x/i, '');
  if (!/^[0-9a-f]{1,16}$/i.test(digits)) throw new Exit(exitCodes.failure, 'object id must be a hex integer');
  const value = BigInt(`0x${digits}`);
  return {
    inode: value >> 63n === 1n,
    vid: Number((value >> 32n) & 0xffffffn),
    index: Number(value & 0xffffffffn),
  };
}

async function referring(context: Context, vdis: VdiInfo[], oid: Oid): Promise<VdiInfo[]> {
  if (oid.inode) return vdis.filter((vdi) => vdi.vid === oid.vid);
  const found: VdiInfo[] = [];
  for (const vdi of vdis) {
    const ref = vdi.snapshot ? { name: vdi.name, snapId: vdi.snapId } : { name: vdi.name };
    const { entries } = await context.call('vdi.map', ref);
    if (entries.some(([index, vid]) => index === oid.index && vid === oid.vid)) found.push(vdi);
  }
  return found;
}

async function info(context: Context, [name]: string[], options: { snapshot?: string }): Promise<void> {
  const ref = vdiRef(name!, options.snapshot);
  const vdi = await context.call('vdi.info', ref).catch((error: unknown) => {
    throw refusal(openText(ref), error);
  });
  if (context.json) return context.printJson(vdi);
  if (context.raw) return context.printLine(vdiListRaw(vdi));
  const size = (bytes: number): string => `${formatSize(bytes)} (${bytes} bytes)`;
  await context.print(
    formatFields([
      ['Name', vdi.name],
      ['Kind', vdi.image ? 'image' : vdi.snapshot ? 'snapshot' : vdi.clone ? 'clone' : 'volume'],
      ...(vdi.snapshot ? ([['Snapshot', `${vdi.snapId} ${vdi.tag}`.trimEnd()]] as const) : []),
      ['Size', size(vdi.sizeBytes)],
      ['Used', size(vdi.usedBytes)],
      ['Shared', size(vdi.sharedBytes)],
      ['Copies', String(vdi.copies)],
      ['Object size', formatSize(2 ** vdi.blockSizeShift)],
      ['VDI id', vdi.vid.toString(16)],
      ['Parent', vdi.parentVid === 0 ? 'none' : vdi.parentVid.toString(16)],
      ['Created', formatSecond(vdi.createdMs)],
    ]),
  );
}
