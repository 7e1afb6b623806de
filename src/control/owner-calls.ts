import { sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { readFrozenIndex } from '../volume/frozen-volume.js';
import { isIdle } from '../volume/owned-volume.js';
import { isFrozen } from '../volume/records.js';
import type { VolumeManager } from '../volume/volume-manager.js';
import type { ControlResult } from './api.js';
import type { CallResult } from './carried.js';
import * as check from './params.js';

const LINE_BYTES_MAX = 255;
/** Sheep asked at a time whether somebody uses a volume there, and how long each has. */
const ASKED_AT_ONCE = 64;
const USERS_MS = 2_000;

export interface OwnerCallsOptions {
  readonly manager: VolumeManager;
  /** Another sheep does the call. */
  readonly carry: (nodeId: string, method: string, params: unknown) => Promise<CallResult>;
  /** Repeats what is answered with 'again'. */
  readonly untilCertain: <T>(work: () => Promise<T>) => Promise<T>;
}

/**
 * Which sheep serves a volume, chosen ahead of its client. An owner that somebody uses keeps the volume: taking it away
 * would change nothing for that client, which goes on at the next owner. What is handed over is fenced as always: the
 * former owner's session is closed before its claim goes (I-9).
 */
export class OwnerCalls {
  constructor(private readonly options: OwnerCallsOptions) {}

  /** Undefined: the method is not one of these. */
  async call(method: string, fields: check.Fields): Promise<CallResult | undefined> {
    switch (method) {
      case 'vdi.claim':
        return { result: await this.claim(fields) };
      case 'vdi.release':
        return { result: { released: await this.release(check.checkName(fields.name)) } };
      case 'internal.handOver':
        return { result: { users: await this.handOver(checkLine(fields)) } };
      case 'internal.users':
        return { result: { users: this.usersOf(checkLine(fields)) } };
      default:
        return undefined;
    }
  }

  private async claim(fields: check.Fields): Promise<ControlResult<'vdi.claim'>> {
    const { manager, carry, untilCertain } = this.options;
    const { directory, cluster } = manager.options;
    const self = cluster.objects.selfId;
    return untilCertain(async () => {
      const record = await directory.findNow(check.checkVdiRef(fields));
      if (isFrozen(record)) {
        // Nobody owns what never changes: that it can be served shows when its index is read.
        await readFrozenIndex(manager.options, cluster.client.session(), record);
        return { owner: undefined, here: false, users: 0 };
      }
      const target = await manager.locate(record.line);
      if (target.kind === 'local') {
        return { owner: self, here: true, users: await this.usersAnywhere(record.line) };
      }
      const { result } = await carry(target.nodeId, 'internal.handOver', { line: record.line }).catch(
        asAgain,
      );
      if ((result as { users: number }).users > 0) {
        return { owner: target.nodeId, here: false, users: await this.usersAnywhere(record.line) };
      }
      throw new AppError('again', 'the volume has just been handed over');
    });
  }

  private async release(name: string): Promise<boolean> {
    const { manager } = this.options;
    const record = await manager.options.directory.findNow({ name });
    if (manager.ownedBy(record.line) === undefined) return false;
    return (await this.handOver(record.line)) === 0;
  }

  /** Gives the volume up if nobody here uses it; else resolves with how many do. */
  private async handOver(line: string): Promise<number> {
    const { manager } = this.options;
    const owned = manager.ownedBy(line);
    if (owned === undefined) return 0;
    const users = Math.max(this.usersOf(line), owned.handles);
    // What is under way ends by itself; the caller asks again.
    if (users === 0 && isIdle(owned) && !owned.releasing) await manager.giveUp(owned);
    return users;
  }

  /**
   * A sheep whose client has asked for nothing since the owner changed has it open, too, and the owner does not know.
   * One that does not answer is on its way out of the cluster, and its client out of reach of the volume.
   */
  private async usersAnywhere(line: string): Promise<number> {
    const { membership, cluster } = this.options.manager.options;
    const waiting = [...(membership.view?.nodes ?? [])]
      .filter(([id, node]) => node.up && id !== cluster.objects.selfId)
      .map(([id]) => id);
    let users = this.usersOf(line);
    const worker = async (): Promise<void> => {
      for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
        const there = await this.usersAt(id, line);
        users += there;
      }
    };
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, worker));
    return users;
  }

  private async usersAt(nodeId: string, line: string): Promise<number> {
    const { carry, manager } = this.options;
    const late = sleep(manager.options.clock, USERS_MS).then(() => undefined);
    const answer = carry(nodeId, 'internal.users', { line }).catch(() => undefined);
    const users = (await Promise.race([answer, late]))?.result as { users: number } | undefined;
    return users?.users ?? 0;
  }

  private usersOf(line: string): number {
    return this.options.manager.opened.get(line) ?? 0;
  }
}

function checkLine(fields: check.Fields): string {
  return check.checkText(fields.line, 'line', LINE_BYTES_MAX);
}

/** The owner is on its way out of the cluster: whoever asks again finds out who is the next. */
function asAgain(error: unknown): never {
  if (!AppError.isCode(error, 'network', 'old-epoch', 'new-epoch', 'shutdown', 'cluster-error')) throw error;
  throw new AppError('again', 'the owner of the volume does not answer', { cause: error });
}
