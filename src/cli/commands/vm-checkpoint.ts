import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { Checkpoint } from '../../vm/checkpoint/inventory.js';
import type { Manifest } from '../../vm/checkpoint/manifest.js';
import { checkCheckpointName } from '../../vm/checkpoint/names.js';
import { loadCheckpoint, planLoad } from '../checkpoint-load.js';
import { saveCheckpoint } from '../checkpoint-save.js';
import { fetchInventory, findCheckpoint, removeCheckpoint, sweepCheckpoints } from '../checkpoint-store.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { openProgress } from '../progress.js';
import { cautionDog, confirm } from '../prompt.js';
import { formatSecond, formatSize } from '../sizes.js';
import { type LibvirtOptions, libvirtOptions, libvirtRefusal, virshOf } from '../vm.js';
import { fetchVdis } from './vdi-list.js';

/** Checkpoints: a machine's memory and all its disks at one moment, kept in the cluster. */

interface LoadOptions extends LibvirtOptions {
  yes?: boolean;
  keep?: string;
}

export function vmCheckpointCommands(vm: Command, runner: Runner): void {
  addLeaf<LibvirtOptions>(vm, runner, {
    usage: 'savevm <domain> <name>',
    summary: 'keep a running machine as it is at this moment: its memory and all its disks',
    details: `The guest runs on while its memory is stored; then it is stopped for the moment in which its volumes
are snapshotted. Any host of the cluster can go on from there ('dog vm loadvm'). A checkpoint appears when all of it is
there; what a command that was killed has left is removed by the next one. Marks the domain as tainted (custom-monitor).
Refused for machines with disks that the guest can write and that are not volumes of this cluster, and with devices of
the host. The state holds the guest's memory and the passwords of its screens: whoever reads volumes can read it.
Exit codes: 3 the name is taken, 4 no room.`,
    examples: ['dog vm savevm web before-upgrade'],
    options: libvirtOptions,
    run: save,
  });
  addLeaf<LoadOptions>(vm, runner, {
    usage: 'loadvm <domain> <name>',
    summary: 'go on from a checkpoint, on this host',
    details: `The machine is ended if it runs here (on another host it must be ended before), its volumes become what
they were, and it goes on from that moment. What was written since is lost, unless --keep makes snapshots of it. When
the command fails midway, it can be run again. The checkpoint stays.`,
    examples: [
      'dog vm loadvm web before-upgrade',
      'dog vm loadvm web before-upgrade --yes --keep after-upgrade',
    ],
    options: [
      ['-y, --yes', 'do not ask'],
      ['--keep <tag>', 'first make snapshots of the volumes as they are now'],
      ...libvirtOptions,
    ],
    run: load,
  });
  addLeaf(vm, runner, {
    usage: 'listvm [domain]',
    summary: 'list checkpoints',
    details: 'Raw lines: DOMAIN NAME BYTES SECONDS DISKS, the disks as TARGET=VOLUME with commas between.',
    examples: ['dog vm listvm', 'dog vm listvm web --json'],
    run: list,
  });
  addLeaf(vm, runner, {
    usage: 'delvm <domain> <name>',
    summary: 'delete a checkpoint: its state, and the snapshots of its disks',
    examples: ['dog vm delvm web before-upgrade'],
    run: remove,
  });
}

async function save(context: Context, [domain, name]: string[], options: LibvirtOptions): Promise<void> {
  checkCheckpointName(name!);
  const progress = await openProgress(context, `saving ${domain}`);
  const startMs = performance.now();
  const names = { domain: domain!, name: name! };
  const saved = await saveCheckpoint(context, virshOf(options), names, progress)
    .catch((error: unknown) => libvirtRefusal(`Failed to save ${domain}`, error))
    .finally(() => progress.stop());
  const { image, manifest, pauseMs, hurried } = saved;
  const stateBytes = image.image!.contentBytes;
  const tookMs = Math.round(performance.now() - startMs);
  if (context.json) {
    const { disks } = manifest;
    return context.printJson({
      domain,
      name,
      stateBytes,
      disks,
      tookMs,
      pauseMs: Math.round(pauseMs),
      hurried,
    });
  }
  const disks = manifest.disks.map(({ target, volume }) => `${target} (${volume})`).join(', ');
  await context.printLine(`${name}: ${formatSize(stateBytes)} of state, and ${disks}`);
  if (hurried)
    context.note(`${domain} changed its memory faster than it was stored, and was paused for the rest`);
  if (manifest.running) context.remark([`${domain} was stopped for ${Math.round(pauseMs)} ms`]);
}

async function load(context: Context, [domain, name]: string[], options: LoadOptions): Promise<void> {
  if (options.keep !== undefined && /^\d+$/.test(options.keep)) {
    throw new Exit(exitCodes.usage, 'Please specify a non-integer value for a snapshot tag name');
  }
  const virsh = virshOf(options);
  const checkpoint = await findCheckpoint(context, domain!, name!);
  const prefix = `Failed to load ${name} of ${domain}`;
  const plan = await planLoad(context, virsh, checkpoint).catch((error) => libvirtRefusal(prefix, error));
  const volumes = plan.manifest.disks.map(({ volume }) => volume).join(', ');
  if (options.keep !== undefined) await refuseKept(context, plan.manifest, options.keep);
  if (options.yes !== true) {
    const ends = plan.running ? `${domain} is ended at once, and ` : '';
    const lost = options.keep === undefined ? 'is lost' : `stays as snapshot ${options.keep}`;
    const words = `${ends}what was written to ${volumes} since then ${lost}.`;
    await confirm(context, cautionDog(words), "With '--yes' nothing is asked.");
  }
  await loadCheckpoint(context, virsh, plan, options.keep).catch((error) => libvirtRefusal(prefix, error));
  if (context.json) return context.printJson({ domain, name, disks: plan.manifest.disks });
  await context.printLine(`${domain} goes on from ${name}`);
}

/** Before the machine is ended for it. */
async function refuseKept(context: Context, { disks }: Manifest, tag: string): Promise<void> {
  const names = new Set(disks.map(({ volume }) => volume));
  const used = (await fetchVdis(context)).find((vdi) => vdi.tag === tag && names.has(vdi.name));
  if (used === undefined) return;
  throw new Exit(exitCodes.exists, `Volume ${used.name} has a snapshot ${tag} already`, {
    hint: "If a 'loadvm' that failed has made it: run that again without --keep.",
  });
}

async function list(context: Context, [domain]: string[]): Promise<void> {
  const { checkpoints } = await fetchInventory(context);
  const found = checkpoints.filter((one) => domain === undefined || one.domain === domain);
  found.sort((a, b) => a.image.createdMs - b.image.createdMs || a.image.vid - b.image.vid);
  if (context.json) await context.printJson(found.map(fieldsOf));
  else if (context.raw) await context.print(found.map(rawLine).join(''));
  else await context.print(tableOf(found));
  await sweepCheckpoints(context);
}

function fieldsOf({ domain, name, image, manifest, broken }: Checkpoint) {
  const { disks = [], qemu, uuid } = manifest ?? {};
  const { createdMs } = image;
  return { domain, name, stateBytes: image.image!.contentBytes, createdMs, disks, qemu, uuid, broken };
}

function disksText({ manifest }: Checkpoint, between: string): string {
  return (manifest?.disks ?? []).map(({ target, volume }) => `${target}=${volume}`).join(between);
}

function rawLine(checkpoint: Checkpoint): string {
  const { domain, name, image } = checkpoint;
  const escaped = [domain, name, disksText(checkpoint, ',')].map((text) => text.replace(/[\s\\]/g, '\\$&'));
  const [first, second, disks] = escaped;
  const seconds = Math.floor(image.createdMs / 1000);
  return `${first} ${second} ${image.image!.contentBytes} ${seconds} ${disks}\n`;
}

function tableOf(checkpoints: readonly Checkpoint[]): string {
  const widthOf = (head: string, of: (one: Checkpoint) => string) =>
    Math.max(head.length, ...checkpoints.map((one) => of(one).length));
  const domains = widthOf('Domain', ({ domain }) => domain);
  const names = widthOf('Name', ({ name }) => name);
  const widths = [domains, names, 7, 19, 0];
  const row = (...cells: string[]) =>
    `${cells.map((cell, at) => (at === 2 ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!))).join('  ')}\n`;
  const rows = checkpoints.map((one) => {
    const size = formatSize(one.image.image!.contentBytes);
    const disks = one.broken === undefined ? disksText(one, ' ') : `broken: ${one.broken}`;
    return row(one.domain, one.name, size, formatSecond(one.image.createdMs), disks);
  });
  return row('Domain', 'Name', 'State', 'Made', 'Disks') + rows.join('');
}

async function remove(context: Context, [domain, name]: string[]): Promise<void> {
  const checkpoint = await findCheckpoint(context, domain!, name!);
  await removeCheckpoint(context, checkpoint).catch((error: unknown) => {
    const missing = AppError.isCode(error, 'no-vdi') ? exitCodes.missing : undefined;
    throw refusal(`Failed to delete ${name} of ${domain}`, error, missing);
  });
  await sweepCheckpoints(context);
  if (context.json) await context.printJson({ domain, name });
}
