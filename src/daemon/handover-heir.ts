import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { within } from '../nbd/within.js';
import { duplicate } from '../store/syscalls.js';
import type { SheepConfig } from './config.js';
import {
  type HandoverMessage,
  INHERITANCE_VARIABLE,
  INHERITANCE_VERSION,
  type Inheritance,
  isHandoverMessage,
} from './handover-message.js';
import { type DoorName, doorNames } from './handover-sockets.js';

export type Adopt = (socket: Socket, unread: Buffer, silent: boolean) => void;

/** It has nothing left to do. */
const PREDECESSOR_ENDS_MS = 10_000;

/** The new process's side of a planned upgrade: what it inherits, and when it may go on. */
export class Heir {
  private goesOn: () => void = () => {};
  private readonly allowed = new Promise<void>((resolve) => {
    this.goesOn = resolve;
  });
  private alone = false;
  private adopt: Adopt = (socket) => socket.destroy();
  private isAlone: () => void = () => {};
  private readonly predecessorEnded = new Promise<void>((resolve) => {
    this.isAlone = resolve;
  });

  private constructor(
    /** Holds the lock of the directory as long as it is open. */
    readonly lock: number,
    readonly sockets: ReadonlyMap<DoorName, number>,
  ) {
    process.on('message', (message, handle) => {
      if (!isHandoverMessage(message)) return;
      if (message.handover === 'go') {
        this.alone = true;
        this.goesOn();
      } else if (message.handover === 'connection' && handle instanceof Socket) {
        const { unread, silent } = message;
        this.adopt(handle, Buffer.from(unread, 'base64'), silent);
      }
    });
    process.on('disconnect', () => {
      // The predecessor died with everything still in its hands: this is no upgrade any more.
      if (!this.alone) process.exit(1);
      this.isAlone();
    });
  }

  /** Undefined for a process that was started in the ordinary way. Throws AppError 'version' for a foreign handover. */
  static find(env: NodeJS.ProcessEnv = process.env): Heir | undefined {
    const text = env[INHERITANCE_VARIABLE];
    delete env[INHERITANCE_VARIABLE];
    if (text === undefined || process.send === undefined) return undefined;
    const { version, lock, sockets } = JSON.parse(text) as Inheritance;
    if (version !== INHERITANCE_VERSION) {
      throw new AppError(
        'version',
        `this program cannot take over from one that hands over by version ${version}`,
      );
    }
    const kept = new Map<DoorName, number>();
    for (const name of doorNames) {
      const fd = sockets[name];
      if (fd !== undefined) kept.set(name, keep(fd));
    }
    return new Heir(keep(lock), kept);
  }

  /**
   * Doors that nobody asked for by name are left out when their port is taken (`prepared`); here the predecessor has
   * them, if anybody.
   */
  configFor(asked: SheepConfig, prepared: SheepConfig): SheepConfig {
    if (asked.original === undefined) return prepared;
    const { sockets } = this;
    return {
      ...prepared,
      nbdPort: sockets.has('nbd') ? asked.nbdPort : -1,
      httpPort: sockets.has('http') ? asked.httpPort : -1,
    };
  }

  /** Says that everything that can be done in advance is done; resolves when the predecessor has given up the rest. */
  waitForGo(): Promise<void> {
    tell({ handover: 'ready' });
    return this.allowed;
  }

  /** This process serves, and goes on with connections, too; resolves when the predecessor has ended. */
  async serving(adopt: Adopt): Promise<void> {
    this.adopt = adopt;
    tell({ handover: 'serving' });
    await within(systemClock, PREDECESSOR_ENDS_MS, this.predecessorEnded);
  }

  /** To be called before the process ends because it cannot serve. Resolves when the predecessor was told. */
  static async failed(why: string): Promise<void> {
    if (process.send === undefined || !process.connected) return;
    await new Promise<void>((resolve) => {
      process.send!({ handover: 'failed', why } satisfies HandoverMessage, undefined, undefined, () =>
        resolve(),
      );
    });
  }
}

function tell(message: HandoverMessage): void {
  // It may be gone in this very moment, which 'disconnect' tells.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

/** Inherited descriptors pass to every child; copies do not. */
function keep(fd: number): number {
  const copy = duplicate(fd);
  closeSync(fd);
  return copy;
}
