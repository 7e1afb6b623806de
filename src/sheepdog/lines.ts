import { AppError } from '../base/errors.js';
import type { VolumeHandle } from '../volume/volume-handle.js';
import type { Client } from './operation.js';
import type { DoorParts } from './parts.js';

/** A volume that nobody has used for so long is let go, so that another sheep may serve it. */
const IDLE_MS = 10_000;
/** The same after the last connection that worked on it has ended: QEMU reconnects once a second. */
const LEFT_MS = 1500;
const SWEEP_MS = 1000;

interface Open {
  readonly handle: Promise<VolumeHandle>;
  lastUsedMs: number;
  /** Clients whose connections are known to work on this volume. */
  readonly clients: Set<Client>;
}

const BOUND = Symbol('the line a connection works on');

/**
 * Volumes that clients of this door use. The protocol has no sessions, so a volume stays open while requests come, or
 * while a connection that has worked on it is there.
 */
export class Lines {
  private readonly open = new Map<string, Open>();
  private sweeping = false;

  constructor(private readonly parts: DoorParts) {}

  /** Runs `work` on the volume's handle. Rejects with 'no-vdi' when it is gone. */
  async use<T>(line: string, work: (handle: VolumeHandle) => Promise<T>): Promise<T> {
    const open = this.get(line);
    open.lastUsedMs = this.parts.clock.nowMs();
    try {
      return await work(await open.handle);
    } catch (error) {
      if (AppError.isCode(error, 'no-vdi')) this.drop(line, open);
      throw error;
    }
  }

  /** The connection has done something to the working volume of this line: what it says from now on is about it. */
  bind(client: Client, line: string): void {
    const bound = client.notes.get(BOUND);
    if (bound === line) return;
    const first = bound === undefined;
    if (!first) this.open.get(bound as string)?.clients.delete(client);
    client.notes.set(BOUND, line);
    this.get(line).clients.add(client);
    if (first) client.onClose(() => this.leave(client));
  }

  private leave(client: Client): void {
    const open = this.open.get(client.notes.get(BOUND) as string);
    if (open?.clients.delete(client) && open.clients.size === 0) {
      open.lastUsedMs = this.parts.clock.nowMs() - IDLE_MS + LEFT_MS;
    }
  }

  boundTo(client: Client): string | undefined {
    return client.notes.get(BOUND) as string | undefined;
  }

  private get(line: string): Open {
    const known = this.open.get(line);
    if (known !== undefined) return known;
    const handle = this.parts.manager.openLine(line);
    const open: Open = { handle, lastUsedMs: this.parts.clock.nowMs(), clients: new Set() };
    this.open.set(line, open);
    handle.catch(() => this.drop(line, open));
    this.sweepLater();
    return open;
  }

  private drop(line: string, open: Open): void {
    if (this.open.get(line) !== open) return;
    this.open.delete(line);
    open.handle.then(
      (handle) => handle.close(),
      () => {},
    );
  }

  private sweepLater(): void {
    if (this.sweeping) return;
    this.sweeping = true;
    this.parts.clock.after(SWEEP_MS, () => {
      this.sweeping = false;
      const idleSince = this.parts.clock.nowMs() - IDLE_MS;
      for (const [line, open] of [...this.open]) {
        if (open.clients.size === 0 && open.lastUsedMs < idleSince) this.drop(line, open);
      }
      if (this.open.size > 0) this.sweepLater();
    });
  }
}
