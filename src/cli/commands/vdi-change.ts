import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { VdiInfo, VdiRef } from '../../control/api.js';
import { BLOCK_SIZE_SHIFT_DEFAULT, BLOCK_SIZE_SHIFT_MAX, vdiBytesMax } from '../../wire/sheepdog.js';
import {
  copiesArgument,
  countArgument,
  openText,
  shiftArgument,
  sizeArgument,
  vdiRef,
} from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { openProgress } from '../progress.js';
import { confirm } from '../prompt.js';

/** Commands that make, change and remove volumes. Each is one call to the sheep, all or nothing (I-6). */
export function vdiChangeCommands(parent: Command, runner: Runner): void {
  addLeaf<CreateOptions>(parent, runner, {
    usage: 'create <name> <size>',
    summary: 'create a volume',
    details: 'SIZE is in bytes, or with a suffix K M G T P (1024-based): 4G and 4GiB are the same.',
    examples: ['dog vdi create first 4G', 'dog vdi create fast 20G -c 2 -P', 'dog vdi create big 8T -z 24'],
    options: [
      ['-P, --prealloc', 'allocate every object now'],
      ['-c, --copies <copies>', 'number of copies (default: that of the cluster)'],
      ['-z, --block_size_shift <shift>', 'size of objects as a power of two, 20 to 31 (default: 22, 4 MiB)'],
      ['-y, --hyper', 'a volume above 4 TiB: takes objects as large as it needs, unless -z says'],
    ],
    run: create,
  });
  addLeaf(parent, runner, {
    usage: 'resize <name> <size>',
    summary: 'make a volume larger',
    details: 'Volumes only grow. Clients that are connected over NBD see the new size when they ask again.',
    examples: ['dog vdi resize first 8G'],
    run: resize,
  });
  addLeaf<{ snapshot?: string; reduceIdenticalSnapshots?: boolean }>(parent, runner, {
    usage: 'snapshot <name>',
    summary: 'keep the present content of a volume as a snapshot',
    examples: ['dog vdi snapshot first -s before-upgrade', 'dog vdi list first'],
    options: [
      ['-s, --snapshot <tag>', "the snapshot's tag; not only digits"],
      ['-R, --reduce-identical-snapshots', 'do nothing when nothing was written since the last snapshot'],
    ],
    run: snapshot,
  });
  addLeaf<{ snapshot?: string; prealloc?: boolean; share?: boolean }>(parent, runner, {
    usage: 'clone <source> <name>',
    summary: 'make a new volume from a snapshot or an image',
    examples: ['dog vdi snapshot first -s golden', 'dog vdi clone first vm7 -s golden'],
    options: [
      ['-s, --snapshot <snapshot>', 'the snapshot to clone, by tag or id (needed, but for images)'],
      ['-P, --prealloc', 'allocate every object now'],
      ['-n, --no-share', 'copy the data instead of sharing it'],
    ],
    run: clone,
  });
  addLeaf<{ snapshot?: string; force?: boolean; block?: string; interval?: string }>(parent, runner, {
    usage: 'rollback <name>',
    summary: 'put a volume back to one of its snapshots',
    details: 'What was written since that snapshot, and not kept in another one, is lost.',
    examples: ['dog vdi rollback first -s before-upgrade'],
    options: [
      ['-s, --snapshot <snapshot>', 'the snapshot, by tag or id (needed)'],
      ['-f, --force', 'do not ask'],
      ...paceOptions,
    ],
    run: rollback,
  });
  addLeaf<{ snapshot?: string; block?: string; interval?: string }>(parent, runner, {
    usage: 'delete <name>',
    summary: 'delete a volume, or one of its snapshots',
    details: 'Deleting a volume keeps its snapshots and clones. Space that nobody shares is free at once.',
    examples: ['dog vdi delete first', 'dog vdi delete first -s before-upgrade'],
    options: [['-s, --snapshot <snapshot>', 'delete this snapshot, by tag or id'], ...paceOptions],
    run: remove,
  });
  addLeaf(parent, runner, {
    usage: 'rename <name> <new-name>',
    summary: 'give a volume another name',
    examples: ['dog vdi rename first web1'],
    run: rename,
  });
}

/** The original paces a deletion from outside; here the sheep do it themselves. Scripts may still say how. */
const paceOptions = [
  ['-B, --block <count>', 'accepted for old scripts; deletion paces itself'],
  ['-I, --interval <seconds>', 'accepted for old scripts; deletion paces itself'],
] as const;

function checkPace(options: { block?: string; interval?: string }): void {
  if (options.block !== undefined) countArgument(options.block, 'batch size', 1, 2 ** 20);
  if (options.interval !== undefined) countArgument(options.interval, 'interval', 0, 86400);
}

interface CreateOptions {
  prealloc?: boolean;
  copies?: string;
  block_size_shift?: string;
  hyper?: boolean;
}

async function create(context: Context, [name, sizeText]: string[], options: CreateOptions): Promise<void> {
  const copies = options.copies === undefined ? undefined : copiesArgument(options.copies);
  const sizeBytes = sizeArgument(sizeText!);
  const asked = options.block_size_shift === undefined ? undefined : shiftArgument(options.block_size_shift);
  const shift = asked ?? (options.hyper === true ? hyperShift(sizeBytes) : undefined);
  await context.client({ nodeList: true });
  checkNewSize(name!, sizeBytes, shift ?? BLOCK_SIZE_SHIFT_DEFAULT);
  if (copies !== undefined) await checkZones(context, `Failed to create VDI ${name}`, copies);
  const params = {
    name: name!,
    sizeBytes,
    ...(copies === undefined ? {} : { copies }),
    ...(shift === undefined ? {} : { blockSizeShift: shift }),
    ...(options.prealloc === true ? { preallocate: true } : {}),
  };
  const progress = await openProgress(context, `creating ${name}`);
  const vdi = await context
    .call('vdi.create', params, { onProgress: (p) => progress.update(p) })
    .catch((error: unknown) => {
      throw refusal(`Failed to create VDI ${name}`, error);
    })
    .finally(() => progress.stop());
  await printNewVdi(context, vdi, 'VDI ID of newly created VDI: ');
}

/**
 * The original's hyper volumes had an index of another kind; here the objects grow. Undefined: the usual ones do.
 */
function hyperShift(sizeBytes: number): number | undefined {
  let shift = BLOCK_SIZE_SHIFT_DEFAULT;
  while (sizeBytes > vdiBytesMax(shift) && shift < BLOCK_SIZE_SHIFT_MAX) shift++;
  return shift === BLOCK_SIZE_SHIFT_DEFAULT ? undefined : shift;
}

function checkNewSize(name: string, sizeBytes: number, shift: number): void {
  if (sizeBytes === 0) throw new Exit(exitCodes.failure, `Failed to create VDI ${name}: its size is 0`);
  const max = vdiBytesMax(shift);
  if (sizeBytes <= max) return;
  throw new Exit(exitCodes.failure, `Failed to create VDI ${name}: VDI size is larger than ${max} bytes`, {
    hint: 'Use larger objects with -z: 24 allows 16 TiB, 26 allows 64 TiB.',
  });
}

/** More copies than zones cannot be kept apart; the original took them silently. */
async function checkZones(context: Context, prefix: string, copies: number): Promise<void> {
  const { nodes } = await context.call('cluster.info', {});
  const zones = new Set(nodes.filter((node) => node.in && node.vnodes > 0).map((node) => node.zone)).size;
  if (copies <= zones || zones === 0) return;
  const text = `Number of copies (${copies}) is larger than number of zones (${zones})`;
  throw new Exit(exitCodes.failure, `${prefix}: ${text}`, {
    hint: 'Ask for fewer copies with -c, or add a sheep in another zone.',
  });
}

async function printNewVdi(context: Context, vdi: VdiInfo, words: string): Promise<void> {
  if (context.json) return context.printJson(vdi);
  if (!context.verbose) return;
  await context.printLine(`${context.raw ? '' : words}${vdi.vid.toString(16)}`);
}

async function resize(context: Context, [name, sizeText]: string[]): Promise<void> {
  const sizeBytes = sizeArgument(sizeText!);
  const vdi = await openVdi(context, { name: name! });
  if (sizeBytes < vdi.sizeBytes) throw new Exit(exitCodes.usage, 'Shrinking VDIs is not implemented');
  const max = vdiBytesMax(vdi.blockSizeShift);
  if (sizeBytes > max) {
    throw new Exit(exitCodes.usage, `New VDI size is too large. This volume's max size is ${max}`);
  }
  const resized = await context.call('vdi.resize', { name: name!, sizeBytes }).catch((error: unknown) => {
    throw refusal(`Failed to resize VDI ${name}`, error);
  });
  if (context.json) await context.printJson(resized);
}

export async function openVdi(context: Context, ref: VdiRef): Promise<VdiInfo> {
  return context.call('vdi.info', ref).catch((error: unknown) => {
    throw refusal(openText(ref), error);
  });
}

async function snapshot(
  context: Context,
  [name]: string[],
  options: { snapshot?: string; reduceIdenticalSnapshots?: boolean },
): Promise<void> {
  const tag = options.snapshot ?? '';
  if (/^\d+$/.test(tag)) {
    throw new Exit(exitCodes.usage, 'Please specify a non-integer value for a snapshot tag name');
  }
  if (options.reduceIdenticalSnapshots === true) {
    const vdi = await openVdi(context, { name: name! });
    if (vdi.usedBytes === 0) {
      if (context.json) await context.printJson({ skipped: true });
      else if (context.verbose) await context.printLine(`${name} was not written since its last snapshot`);
      return;
    }
  }
  const answer = await context.call('vdi.snapshot', { name: name!, tag }).catch((error: unknown) => {
    throw snapshotRefusal(error, name!, tag);
  });
  if (context.json) return context.printJson(answer);
  if (!context.verbose) return;
  const [working, kept] = [answer.working.vid.toString(16), answer.snapshot.vid.toString(16)];
  await context.printLine(
    context.raw
      ? `${working} ${kept}`
      : `new VID of original VDI: ${working}, VDI ID of newly created snapshot: ${kept}`,
  );
}

function snapshotRefusal(error: unknown, name: string, tag: string): Exit {
  const prefix = `Failed to create snapshot for ${name}`;
  if (!AppError.isCode(error, 'vdi-exists', 'exists')) return refusal(prefix, error);
  return new Exit(exitCodes.failure, `${prefix}, maybe snapshot id (0) or tag (${tag}) is existed`, {
    hint: 'Choose another tag with -s.',
    quietHint: true,
    cause: error,
  });
}

function neededSnapshot(name: string, snapshot: string | undefined, verb: string): VdiRef {
  if (snapshot !== undefined) return vdiRef(name, snapshot);
  throw new Exit(exitCodes.usage, `Please specify the snapshot to ${verb} with the '-s' option`, {
    hint: `'dog vdi list ${name}' shows its snapshots.`,
  });
}

async function clone(
  context: Context,
  [source, name]: string[],
  options: { snapshot?: string; prealloc?: boolean; share?: boolean },
): Promise<void> {
  const ref = (await isImage(context, source!, options.snapshot))
    ? { name: source! }
    : neededSnapshot(source!, options.snapshot, 'clone');
  const params = {
    source: ref,
    name: name!,
    ...(options.prealloc === true ? { preallocate: true } : {}),
    ...(options.share === false ? { share: false } : {}),
  };
  const progress = await openProgress(context, `cloning to ${name}`);
  const vdi = await context
    .call('vdi.clone', params, { onProgress: (p) => progress.update(p) })
    .catch((error: unknown) => {
      const aboutSource = AppError.isCode(error, 'no-vdi', 'no-tag');
      throw refusal(aboutSource ? openText(ref) : `Failed to create VDI ${name}`, error);
    })
    .finally(() => progress.stop());
  await printNewVdi(context, vdi, 'VDI ID of newly created clone: ');
}

/** An image never changes, so it is cloned as it is. */
async function isImage(context: Context, name: string, snapshot: string | undefined): Promise<boolean> {
  if (snapshot !== undefined) return false;
  const vdi = await context.call('vdi.info', { name }).catch((error: unknown) => {
    if (!AppError.isCode(error, 'no-vdi', 'invalid', 'wait-for-format')) throw error;
    return undefined;
  });
  return vdi?.image !== undefined;
}

async function rollback(
  context: Context,
  [name]: string[],
  options: { snapshot?: string; force?: boolean; block?: string; interval?: string },
): Promise<void> {
  const ref = neededSnapshot(name!, options.snapshot, 'roll back to');
  checkPace(options);
  if (options.force !== true) {
    await confirm(
      context,
      'This operation discards any changes made since the previous\nsnapshot was taken.  Continue? [yes/no]: ',
    );
  }
  const vdi = await context.call('vdi.rollback', ref).catch((error: unknown) => {
    const aboutSource = AppError.isCode(error, 'no-vdi', 'no-tag');
    throw refusal(aboutSource ? openText(ref) : `Failed to roll back VDI ${name}`, error);
  });
  await printNewVdi(context, vdi, 'New VDI ID of the rolled back VDI: ');
}

async function remove(
  context: Context,
  [name]: string[],
  options: { snapshot?: string; block?: string; interval?: string },
): Promise<void> {
  const ref = vdiRef(name!, options.snapshot);
  checkPace(options);
  const progress = await openProgress(context, `deleting ${name}`);
  const answer = await context
    .call('vdi.delete', ref, { onProgress: (p) => progress.update(p) })
    .catch((error: unknown) => {
      const aboutSource = AppError.isCode(error, 'no-vdi', 'no-tag');
      throw refusal(aboutSource ? openText(ref) : `Failed to delete VDI ${name}`, error);
    })
    .finally(() => progress.stop());
  if (context.json) await context.printJson(answer);
}

async function rename(context: Context, [name, newName]: string[]): Promise<void> {
  const vdi = await context.call('vdi.rename', { name: name!, newName: newName! }).catch((error: unknown) => {
    const aboutSource = AppError.isCode(error, 'no-vdi');
    throw refusal(
      aboutSource ? openText({ name: name! }) : `Failed to rename VDI ${name} to ${newName}`,
      error,
    );
  });
  if (context.json) await context.printJson(vdi);
}
