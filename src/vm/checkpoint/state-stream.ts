import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { AppError } from '../../base/errors.js';
import type { Virsh } from '../virsh.js';
import { giveSocket } from './state-socket.js';

/** No limit that a socket could reach, in bytes a second; a number that JSON keeps exactly. */
const BANDWIDTH = 2 ** 50;
/** Capabilities that leave the stream one which a later `virsh restore` reads. */
const HARMLESS: ReadonlySet<string> = new Set(['events', 'auto-converge']);
/** A guest that has changed its memory faster than it is stored for so many passes is paused for the rest. */
const PASSES_MAX = 5;
const LOOK_MS = 300;

interface Migration {
  readonly status?: string;
  readonly 'error-desc'?: string;
  /** Milliseconds. */
  readonly downtime?: number;
  readonly ram?: { readonly 'dirty-sync-count'?: number };
}

/**
 * The state of a running machine as QEMU writes it for a migration, while the guest runs. When `bytes` has come to its
 * end the guest has stopped, and its requests to disks are done and flushed: that is the one moment the state belongs
 * to. It goes on when somebody resumes it.
 */
export class StateStream {
  private over = false;
  /** The guest was paused so that the stream comes to an end: when, as performance.now() has it. */
  private pausedAtMs: number | undefined;

  private constructor(
    private readonly virsh: Virsh,
    private readonly domain: string,
    readonly bytes: Duplex,
    private readonly formerBandwidth: number,
  ) {}

  /** Begins. Rejects with AppError: libvirt's, QEMU's (it is migrating; a device cannot be saved), 'not-supported'. */
  static async begin(virsh: Virsh, domain: string): Promise<StateStream> {
    await refuseCapabilities(virsh, domain);
    const parameters = (await virsh.monitor(domain, 'query-migrate-parameters')) as Record<string, unknown>;
    const name = `sheepfold-${randomBytes(6).toString('hex')}`;
    const bytes = await giveSocket(virsh, domain, name);
    const former = Number(parameters['max-bandwidth'] ?? 0);
    const stream = new StateStream(virsh, domain, bytes, former);
    try {
      await virsh.monitor(domain, 'migrate-set-parameters', { 'max-bandwidth': BANDWIDTH });
      await virsh.monitor(domain, 'migrate', { uri: `fd:${name}` });
    } catch (error) {
      await virsh.monitor(domain, 'closefd', { fdname: name }).catch(() => {});
      await stream.stop();
      await stream.settle();
      throw error;
    }
    void stream.hurry();
    return stream;
  }

  /**
   * After the end of `bytes`: for how long QEMU had stopped the guest by then, and when it was paused before, if it was
   * (performance.now()). Rejects with AppError 'io'.
   */
  async outcome(): Promise<{ downtimeMs: number; pausedAtMs: number | undefined }> {
    const { status, downtime = 0, 'error-desc': reason } = await this.look();
    // The last state is told a moment after the stream's end.
    if (status === 'active' || status === 'device') {
      await pause();
      return this.outcome();
    }
    if (status !== 'completed') {
      throw new AppError('io', `QEMU could not write the state: ${reason ?? status ?? 'no reason given'}`);
    }
    this.over = true;
    return { downtimeMs: downtime, pausedAtMs: this.pausedAtMs };
  }

  /** Ends it, if it is under way; the guest runs on. Never rejects. */
  async stop(): Promise<void> {
    if (this.over) return;
    this.over = true;
    this.bytes.destroy();
    await this.virsh.monitor(this.domain, 'migrate_cancel').catch(() => {});
    for (let looks = 0; looks < 50; looks++) {
      const { status } = await this.look().catch((): Migration => ({}));
      if (!['setup', 'active', 'device', 'cancelling'].includes(status ?? '')) return;
      await pause();
    }
  }

  /** Makes QEMU as it was; libvirt sets what it needs itself, so a failure does not matter. Never rejects. */
  async settle(): Promise<void> {
    const former = { 'max-bandwidth': this.formerBandwidth };
    await this.virsh.monitor(this.domain, 'migrate-set-parameters', former).catch(() => {});
  }

  /** Sees to it that the stream ends. What goes wrong here shows at the stream's end. */
  private async hurry(): Promise<void> {
    while (!this.over && !this.bytes.readableEnded) {
      const { ram } = await this.look().catch((): Migration => ({}));
      if ((ram?.['dirty-sync-count'] ?? 0) > PASSES_MAX && !this.over && !this.bytes.readableEnded) {
        this.pausedAtMs = performance.now();
        await this.virsh.run(['suspend', '--domain', this.domain]).catch(() => {});
        return;
      }
      await pause();
    }
  }

  private async look(): Promise<Migration> {
    return Object((await this.virsh.monitor(this.domain, 'query-migrate')) ?? {}) as Migration;
  }
}

async function refuseCapabilities(virsh: Virsh, domain: string): Promise<void> {
  const all = (await virsh.monitor(domain, 'query-migrate-capabilities')) as {
    capability: string;
    state: boolean;
  }[];
  const foreign = all.filter(({ state, capability }) => state && !HARMLESS.has(capability));
  if (foreign.length === 0) return;
  const list = foreign.map(({ capability }) => capability).join(', ');
  throw new AppError('not-supported', `migration options are set in QEMU that change its stream: ${list}`);
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}
