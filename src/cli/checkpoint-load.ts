import { AppError } from '../base/errors.js';
import type { Checkpoint } from '../vm/checkpoint/inventory.js';
import type { Manifest } from '../vm/checkpoint/manifest.js';
import { tagOf } from '../vm/checkpoint/names.js';
import { restoreDomain } from '../vm/checkpoint/restore.js';
import { decodeHead, encodeHead, headBytesOf } from '../vm/checkpoint/save-image.js';
import { isSamePlace, type NbdPlace } from '../vm/domain-xml.js';
import { rewritePlaces } from '../vm/rewrite.js';
import { isAtLeast, type Virsh, versionText } from '../vm/virsh.js';
import { readHead } from './checkpoint-store.js';
import type { Context } from './context.js';
import { Exit, exitCodes, exitOf } from './exit.js';
import { readVersion } from './version-reader.js';
import { fetchDoor, fetchPlaces, isOurs } from './vm.js';

/** One checkpoint loaded: volumes as they were, and the machine going on from its state. */

/** A machine that was ended has this long to let go of its volumes. */
const LEAVE_MS = 15_000;
const LOOK_MS = 200;

/** What was found out before anything is changed. */
export interface LoadPlan {
  readonly checkpoint: Checkpoint;
  readonly manifest: Manifest;
  /** The machine runs on this host. */
  readonly running: boolean;
  /** The definition, with disks that lead to this host's sheep. */
  readonly xml: string;
  /** Where in the image QEMU's stream begins. */
  readonly streamOffset: number;
}

/** Rejects with Exit: it could not be loaded here, and nothing has been touched. */
export async function planLoad(context: Context, virsh: Virsh, checkpoint: Checkpoint): Promise<LoadPlan> {
  const { manifest, broken, domain, name } = checkpoint;
  if (manifest === undefined || broken !== undefined) {
    throw new Exit(exitCodes.failure, `Checkpoint ${name} of ${domain} cannot be loaded: ${broken}`);
  }
  await refuseOlderQemu(virsh, manifest);
  const running = await isRunning(virsh, manifest);
  const head = await readHead(context, checkpoint.image.name, checkpoint.image.sizeBytes);
  if (head instanceof AppError) throw head;
  const xml = await pointHere(context, decodeHead(head).xml);
  if (!running) await refuseUsed(context, manifest, 0);
  return { checkpoint, manifest, running, xml, streamOffset: headBytesOf(head) };
}

/** A newer QEMU reads what an older one wrote; the other way round it may fail when the volumes are rolled back. */
async function refuseOlderQemu(virsh: Virsh, { qemu: text }: Manifest): Promise<void> {
  const { qemu } = await virsh.versions();
  const [major = 0, minor = 0] = text.split('.').map(Number);
  if (qemu !== undefined && isAtLeast(qemu, major, minor)) return;
  const here = qemu === undefined ? 'none' : versionText(qemu);
  throw new Exit(exitCodes.failure, `The state was written by QEMU ${text}; this host has ${here}`);
}

/** Rejects with Exit when the name belongs to another machine here, whose place libvirt would refuse to give. */
async function isRunning(virsh: Virsh, { domain, uuid }: Manifest): Promise<boolean> {
  if (!(await virsh.domainNames()).includes(domain)) return false;
  const here = (await virsh.run(['domuuid', '--domain', domain])).trim();
  if (here !== uuid) {
    throw new Exit(exitCodes.failure, `${domain} is another machine on this host, with UUID ${here}`);
  }
  return (await virsh.domainState(domain)) !== 'shut off';
}

async function pointHere(context: Context, xml: string): Promise<string> {
  const door = await fetchDoor(context);
  const places: NbdPlace[] = await fetchPlaces(context);
  const leads = (place: NbdPlace) => isSamePlace(place, door.place);
  return rewritePlaces(xml, (disk) => (isOurs(disk, places) && !leads(disk.place) ? door.place : undefined));
}

/** Rejects with Exit while clients have a volume open, after so long. */
async function refuseUsed(context: Context, { domain, disks }: Manifest, waitMs: number): Promise<void> {
  const endMs = performance.now() + waitMs;
  for (const { volume } of disks) {
    while ((await context.call('vdi.claim', { name: volume })).users > 0) {
      if (performance.now() >= endMs) {
        throw new Exit(exitCodes.failure, `Volume ${volume} is in use; nothing was rolled back`, {
          hint: `If ${domain} runs on another host, end it there first: virsh destroy ${domain}`,
        });
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
}

/**
 * Ends the machine, rolls its volumes back and starts it from the state. Rejects with Exit; run again, it goes on where
 * it failed. `keep`: what the volumes are now stays as snapshots of this tag.
 */
export async function loadCheckpoint(
  context: Context,
  virsh: Virsh,
  plan: LoadPlan,
  keep: string | undefined,
): Promise<void> {
  const { manifest } = plan;
  const { domain, disks } = manifest;
  if (plan.running) await virsh.run(['destroy', '--domain', domain]);
  await refuseUsed(context, manifest, LEAVE_MS);
  if (keep !== undefined) {
    for (const { volume } of disks) await context.call('vdi.snapshot', { name: volume, tag: keep });
  }
  const tag = tagOf(manifest);
  try {
    for (const { volume } of disks) await context.call('vdi.rollback', { name: volume, tag });
  } catch (error) {
    throw stopped(error, `Failed to roll ${domain} back`, 'Some of its volumes may be as they were then.');
  }
  try {
    await restoreDomain(virsh, stateOf(context, plan));
  } catch (error) {
    throw stopped(error, `Failed to start ${domain} from its state`, 'Its volumes are as they were then.');
  }
}

function stopped(error: unknown, prefix: string, what: string): Exit {
  const { exit, message, hint } = exitOf(error);
  return new Exit(exit, `${prefix}: ${message}`, {
    hint: [`It does not run. ${what} Run the command again to go on.`, hint].join(' ').trimEnd(),
    cause: error,
  });
}

async function* stateOf(context: Context, plan: LoadPlan): AsyncGenerator<Buffer> {
  const { checkpoint, manifest, xml, streamOffset } = plan;
  const { name, image } = checkpoint.image;
  yield encodeHead({ xml, note: '', running: manifest.running });
  yield* readVersion(context, { name }, streamOffset, image!.contentBytes);
}
