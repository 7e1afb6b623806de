import type { Command } from 'commander';
import { countArgument, vdiRef } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { INODE_INDEX, openObjects } from './vdi-object.js';

interface TrackOptions {
  snapshot?: string;
  index?: string;
  oid?: string;
}

/** Where an object lay in each epoch. */
export function vdiTrackCommands(parent: Command, runner: Runner): void {
  addLeaf<TrackOptions>(parent, runner, {
    usage: 'track [name]',
    summary: 'where an object lay in each epoch',
    details: `Without -i: the inode of the volume. Newest epoch first; sheep that were down then are left out.
Raw lines: OID EPOCH HOST:PORT...`,
    examples: ['dog vdi track first', 'dog vdi track first -i 3', 'dog vdi track -o 80a1b2c300000000'],
    options: [
      ['-i, --index <index>', 'the object of this index'],
      ['-s, --snapshot <snapshot>', 'of this snapshot, by tag or id'],
      ['-o, --oid <oid>', 'the object of this id (hexadecimal)'],
    ],
    run: track,
  });
}

async function track(context: Context, [name]: string[], options: TrackOptions): Promise<void> {
  const { params, what } = await target(context, name, options);
  const found = await context.call('vdi.track', params, { nodeList: true }).catch((error: unknown) => {
    throw refusal('Failed to track the object', error);
  });
  if (context.json) return context.printJson(found);
  if (context.raw) {
    const row = ({ epoch, holders }: (typeof found.epochs)[number]): string =>
      `${[found.oid, epoch, ...holders.map(({ host, port }) => `${host}:${port}`)].join(' ')}\n`;
    return context.print(found.epochs.map(row).join(''));
  }
  const nodes = (await context.call('node.list', {})).filter((node) => node.up).length;
  await context.print(`Tracking the ${what(found.oid)} with ${nodes} nodes\n`);
  for (const { epoch, holders } of found.epochs) {
    const head = `\nobj ${found.oid} locations at epoch ${epoch}, copies = ${found.copies}\n`;
    const lines = holders.map(({ host, port }) => `${host}:${port}\n`).join('');
    await context.print(`${head}---------------------------------------------------\n${lines}`);
  }
}

async function target(context: Context, name: string | undefined, options: TrackOptions) {
  if (options.oid !== undefined) {
    const oid = options.oid.replace(/^0x/i, '');
    if (!/^[0-9a-f]{1,16}$/i.test(oid)) {
      throw new Exit(exitCodes.failure, 'object id must be a hex integer');
    }
    return { params: { oid }, what: (text: string) => `object ${text}` };
  }
  if (name === undefined) throw new Exit(exitCodes.usage, "dog: missing required argument 'name'");
  const index =
    options.index === undefined ? undefined : countArgument(options.index, 'index', 0, 2 ** 32 - 1);
  const ref = vdiRef(name, options.snapshot);
  const vdi = await openObjects(context, ref, 'no inode objects');
  const objects = Math.ceil(vdi.sizeBytes / 2 ** vdi.blockSizeShift);
  if (index !== undefined && index >= objects) {
    throw new Exit(exitCodes.failure, `Index ${index} is past the end: ${name} has ${objects} objects`);
  }
  const vid = `0x${vdi.vid.toString(16)}`;
  return {
    params: { ...ref, index: index ?? INODE_INDEX },
    what: (oid: string) =>
      index === undefined ? `inode object ${vid}` : `object ${oid} (the inode vid ${vid} idx ${index})`,
  };
}
