import { createHash, randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { AppError } from '../base/errors.js';
import type { VdiInfo } from '../control/api.js';
import { checkpointDisks, devicesText } from '../vm/checkpoint/disks.js';
import { encodeManifest, type Manifest } from '../vm/checkpoint/manifest.js';
import { imageNameOf, tagOf } from '../vm/checkpoint/names.js';
import { ResumeGuard, resumeDomain } from '../vm/checkpoint/resume-guard.js';
import { encodeHead } from '../vm/checkpoint/save-image.js';
import { StateStream } from '../vm/checkpoint/state-stream.js';
import { parseXml } from '../vm/domain-xml.js';
import { type Virsh, versionText } from '../vm/virsh.js';
import { CheckpointClaim } from './checkpoint-claim.js';
import { removeSnapshots, sweepCheckpoints } from './checkpoint-store.js';
import type { Context } from './context.js';
import { Exit, exitCodes } from './exit.js';
import type { Progress } from './progress.js';
import { callPieces, Upload } from './upload.js';
import { fetchPlaces, isOurs } from './vm.js';

/** One checkpoint made: the state of a machine, and its disks at the same moment. */

const STREAM_MAGIC = 'QEVM';
/** A guest does not stand still for longer than this because a sheep is awaited. */
const SNAPSHOTS_MS = 30_000;

export interface Saved {
  readonly image: VdiInfo;
  readonly manifest: Manifest;
  /** The guest was stopped for so long. */
  readonly pauseMs: number;
  /** It changed its memory faster than that was stored, and was paused before the end. */
  readonly hurried: boolean;
}

/** What is known of the machine before anything is done. */
interface Plan {
  readonly xml: string;
  readonly manifest: Manifest;
  readonly memoryBytes: number;
}

/** Rejects with Exit or AppError, and then nothing is left of it and the guest is as it was. */
export async function saveCheckpoint(
  context: Context,
  virsh: Virsh,
  names: { domain: string; name: string },
  progress: Progress,
): Promise<Saved> {
  const plan = await makePlan(context, virsh, names);
  await refuseTaken(context, names);
  await sweepCheckpoints(context);
  const { id, disks } = plan.manifest;
  const volumes = disks.map(({ volume }) => volume).sort();
  const claim = await CheckpointClaim.take(context, volumes, id);
  try {
    return await new Saving(context, virsh, plan, claim, progress).run();
  } finally {
    await claim.drop();
  }
}

async function makePlan(
  context: Context,
  virsh: Virsh,
  { domain, name }: { domain: string; name: string },
): Promise<Plan> {
  const state = await virsh.domainState(domain);
  if (state !== 'running' && state !== 'paused') {
    throw new Exit(exitCodes.failure, `Domain ${domain} does not run: it is ${state}`);
  }
  const { qemu } = await virsh.versions();
  if (qemu === undefined) throw new AppError('not-supported', 'libvirt does not tell which QEMU it has');
  const xml = await savedXml(virsh, domain);
  const places = await fetchPlaces(context);
  const disks = await checkpointDisks(xml, (disk) => isOurs(disk, places));
  const root = await parseXml(xml, 'domain');
  const manifest: Manifest = {
    id: randomBytes(6).toString('hex'),
    domain,
    name,
    uuid: root.first('uuid')?.text.trim() ?? '',
    running: state === 'running',
    qemu: versionText(qemu),
    disks,
  };
  return { xml, manifest, memoryBytes: Number(root.first('memory')?.text ?? 0) * 1024 };
}

/** As libvirt writes it into a saved state: for other hosts, and with passwords of screens. */
function savedXml(virsh: Virsh, domain: string): Promise<string> {
  return virsh.run(['dumpxml', '--migratable', '--security-info', '--domain', domain]);
}

async function refuseTaken(context: Context, names: { domain: string; name: string }): Promise<void> {
  const found = await context.call('vdi.info', { name: imageNameOf(names) }).catch((error: unknown) => {
    if (!AppError.isCode(error, 'no-vdi')) throw error;
    return undefined;
  });
  if (found !== undefined) throw taken(names);
}

function taken({ domain, name }: { domain: string; name: string }, cause?: unknown): Exit {
  return new Exit(exitCodes.exists, `${domain} has a checkpoint ${name} already`, {
    hint: `Choose another name, or delete it with 'dog vm delvm ${domain} ${name}'.`,
    cause,
  });
}

class Saving {
  private readonly hash = createHash('sha256');
  private storedBytes = 0;

  constructor(
    private readonly context: Context,
    private readonly virsh: Virsh,
    private readonly plan: Plan,
    private readonly claim: CheckpointClaim,
    private readonly progress: Progress,
  ) {}

  async run(): Promise<Saved> {
    const { context, plan, claim } = this;
    const { manifest } = plan;
    const name = imageNameOf(manifest);
    const { id } = await context.call('image.begin', { name }).catch((error: unknown) => {
      throw AppError.isCode(error, 'vdi-exists') ? taken(manifest, error) : error;
    });
    const upload = new Upload(context, id);
    let committing = false;
    try {
      const note = encodeManifest(manifest);
      await this.store(upload, encodeHead({ xml: plan.xml, note, running: manifest.running }));
      const moment = await this.capture(upload);
      await upload.settled();
      if (!(await claim.isHeld())) {
        throw new AppError('again', 'it was taken for dead, as nothing was heard of it for a while');
      }
      const sha256 = this.hash.digest('hex');
      committing = true;
      // The checkpoint exists from here on, or not at all: its disks are there already.
      const image = await context.call('image.commit', { id, contentBytes: this.storedBytes, sha256 });
      upload.end();
      return { image, manifest, ...moment };
    } catch (error) {
      await upload.abort();
      await this.undo(committing);
      throw AppError.isCode(error, 'vdi-exists') ? taken(manifest, error) : error;
    }
  }

  private async store(upload: Upload, bytes: Buffer): Promise<void> {
    this.hash.update(bytes);
    await upload.writeSparse(this.storedBytes, bytes);
    this.storedBytes += bytes.length;
    const total = Math.max(this.plan.memoryBytes, this.storedBytes);
    this.progress.update({ done: this.storedBytes, total, unit: 'bytes' });
  }

  /** The state is stored while the guest runs; when it has stopped, its disks are snapshotted, and it goes on. */
  private async capture(upload: Upload): Promise<{ pauseMs: number; hurried: boolean }> {
    const { virsh } = this;
    const { domain, running } = this.plan.manifest;
    const guard = running ? ResumeGuard.start(virsh, domain) : undefined;
    let stopped = false;
    try {
      const state = await StateStream.begin(virsh, domain);
      stopped = running;
      try {
        await this.storeStream(upload, state.bytes);
        const stoppedMs = performance.now();
        const [{ downtimeMs, pausedAtMs }] = await allOf([
          state.outcome(),
          this.snapshotDisks(),
          this.refuseChange(),
        ]);
        if (running) await resumeDomain(virsh, domain);
        stopped = false;
        const sinceMs = pausedAtMs ?? stoppedMs - downtimeMs;
        return { pauseMs: running ? performance.now() - sinceMs : 0, hurried: pausedAtMs !== undefined };
      } finally {
        await state.stop();
        // What failed is told; that the domain is gone, which cannot be resumed then, may be why.
        if (stopped)
          stopped = !(await resumeDomain(virsh, domain).then(
            () => true,
            () => false,
          ));
        await state.settle();
      }
    } finally {
      // Otherwise the guard tries it when we end.
      if (!stopped) guard?.dismiss();
    }
  }

  private async storeStream(upload: Upload, bytes: Duplex): Promise<void> {
    let begun = false;
    for await (const piece of callPieces(bytes)) {
      if (!begun) refuseOtherStream(piece);
      begun = true;
      await this.store(upload, piece);
    }
    if (!begun) throw new AppError('io', 'QEMU ended before it wrote the state');
  }

  private async snapshotDisks(): Promise<void> {
    const { manifest } = this.plan;
    const tag = tagOf(manifest);
    const made = allOf(
      manifest.disks.map(({ volume }) => this.context.call('vdi.snapshot', { name: volume, tag })),
    );
    // One that is made after all is debris then, and swept as such.
    await limited(made, 'its disks could not be snapshotted in time; the guest goes on');
  }

  /** A device that came or went meanwhile is in the state and not in the definition, or the other way round. */
  private async refuseChange(): Promise<void> {
    const now = await savedXml(this.virsh, this.plan.manifest.domain);
    if (devicesText(now) === devicesText(this.plan.xml)) return;
    throw new AppError('again', 'devices of the machine were changed meanwhile; run the command again');
  }

  /** Whether a commit that failed has happened is looked up; if that is not known, the next run sweeps. */
  private async undo(committing: boolean): Promise<void> {
    const { context } = this;
    const { manifest } = this.plan;
    try {
      if (committing) {
        const name = imageNameOf(manifest);
        const known = await context.call('vdi.list', { name });
        // Ours or another's: the inventory tells whose the snapshots are.
        if (known.length > 0) return void (await sweepCheckpoints(context));
      }
      const tag = tagOf(manifest);
      await removeSnapshots(
        context,
        manifest.disks.map(({ volume }) => ({ name: volume, tag })),
      );
    } catch {
      context.note(
        "What is left of the checkpoint is removed by the next 'dog vm savevm', 'listvm' or 'delvm'",
      );
    }
  }
}

/** What does not begin as a migration stream could be stored, and never be loaded. */
function refuseOtherStream(piece: Buffer): void {
  if (piece.toString('latin1', 0, STREAM_MAGIC.length) === STREAM_MAGIC) return;
  throw new AppError('io', 'what QEMU wrote is not the state of a machine');
}

/** As Promise.all, but waits for all: nothing is under way any more when it rejects. */
async function allOf<T extends readonly unknown[]>(
  work: {
    [K in keyof T]: Promise<T[K]>;
  },
): Promise<T> {
  await Promise.allSettled(work);
  return (await Promise.all(work)) as unknown as T;
}

/** Rejects with AppError 'again' when it takes too long; what happens then is up to the caller. */
function limited<T>(work: Promise<T>, complaint: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new AppError('again', complaint)), SNAPSHOTS_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
