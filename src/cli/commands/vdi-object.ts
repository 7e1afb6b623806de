import type { Command } from 'commander';
import type { ControlResult, VdiInfo, VdiRef } from '../../control/api.js';
import { countArgument, openText, vdiRef } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { vdiDumpInodeCommand } from './vdi-dump-inode.js';

/** The index that stands for the inode itself in the call `vdi.object`. */
export const INODE_INDEX = -1;

interface ObjectOptions {
  snapshot?: string;
  index?: string;
}

/** Commands that look under a volume: where its objects lie. */
export function vdiObjectCommands(parent: Command, runner: Runner): void {
  const object = parent
    .command('object')
    .summary('where the objects of a volume lie')
    .description('Looks at the objects of a volume.');
  const options = [
    ['-i, --index <index>', 'the object of this index'],
    ['-s, --snapshot <snapshot>', 'of this snapshot, by tag or id'],
  ] as const;
  addLeaf<ObjectOptions>(object, runner, {
    usage: 'location <name>',
    summary: 'which sheep hold an object, and which should',
    details: 'Without -i: the inode of the volume.',
    examples: ['dog vdi object location first', 'dog vdi object location first -i 3'],
    options,
    run: location,
  });
  addLeaf<ObjectOptions>(object, runner, {
    usage: 'map <name>',
    summary: 'which volume of the family owns each allocated object',
    examples: ['dog vdi object map first | head'],
    options,
    run: map,
  });
  vdiDumpInodeCommand(object, runner);
}

function parseIndex(options: ObjectOptions): number | undefined {
  return options.index === undefined ? undefined : countArgument(options.index, 'index', 0, 2 ** 32 - 1);
}

export function openObjects(context: Context, ref: VdiRef, what: string): Promise<VdiInfo> {
  return context.call('vdi.info', ref, { nodeList: true }).catch((error: unknown) => {
    const { exit, message, hint } = refusal(openText(ref), error);
    throw new Exit(exit, `${message}\nFATAL: ${what}`, { hint, quietHint: true });
  });
}

async function location(context: Context, [name]: string[], options: ObjectOptions): Promise<void> {
  const index = parseIndex(options);
  const ref = vdiRef(name!, options.snapshot);
  const vdi = await openObjects(context, ref, 'no inode objects');
  const objects = Math.ceil(vdi.sizeBytes / 2 ** vdi.blockSizeShift);
  if (index !== undefined && index >= objects) {
    throw new Exit(exitCodes.failure, `Index ${index} is past the end: ${name} has ${objects} objects`);
  }
  const found = await context.call('vdi.object', { ...ref, index: index ?? INODE_INDEX });
  if (context.json) return context.printJson(found);
  if (context.raw) {
    const rows = found.holders.map(
      (h) => `${found.oid} ${h.host}:${h.port} ${h.present ? 1 : 0} ${h.serving ? 1 : 0}`,
    );
    return context.print(rows.map((row) => `${row}\n`).join(''));
  }
  const nodes = (await context.call('node.list', {})).filter((node) => node.up);
  const what =
    index === undefined
      ? `inode object 0x${vdi.vid.toString(16)}`
      : `object ${found.oid} (vid 0x${vdi.vid.toString(16)} idx ${index}, ${vdi.copies} copies)`;
  const addresses = nodes.map((node) => `${node.host}:${node.port}`);
  await context.print(
    `Looking for the ${what} with ${nodes.length} nodes\n\n${holderLines(found, addresses)}\n` +
      `According to sheepdog algorithm, the object should be located at:\n` +
      `${found.holders.map((holder) => `${holder.host}:${holder.port}`).join(' ')}\n`,
  );
}

function holderLines(found: ControlResult<'vdi.object'>, addresses: readonly string[]): string {
  const present = new Set(found.holders.filter((h) => h.present).map((h) => `${h.host}:${h.port}`));
  const all = [...new Set([...addresses, ...present])];
  return all
    .map((address) => `${address} ${present.has(address) ? 'has' : "doesn't have"} the object\n`)
    .join('');
}

async function map(context: Context, [name]: string[], options: ObjectOptions): Promise<void> {
  const index = parseIndex(options);
  const ref = vdiRef(name!, options.snapshot);
  await openObjects(context, ref, `${name} not found`);
  const { entries } = await context.call('vdi.map', ref);
  const wanted = entries.filter(([at]) => index === undefined || at === index).sort((a, b) => a[0] - b[0]);
  if (context.json) return context.printJson(wanted);
  if (!context.raw) await context.printLine('Index       VID');
  const row = ([at, vid]: [number, number]): string =>
    context.raw
      ? `${at} ${vid.toString(16)}\n`
      : `${String(at).padStart(8, '0')} ${vid.toString(16).padStart(8)}\n`;
  // In pieces: the map of a large volume has a million lines.
  for (let at = 0; at < wanted.length; at += 10_000) {
    await context.print(
      wanted
        .slice(at, at + 10_000)
        .map(row)
        .join(''),
    );
  }
}
