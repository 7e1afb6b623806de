import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { sleep, systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { type LogControl, type Logger, openLog } from '../base/log.js';
import type { SheepConfig } from './config.js';
import { CoordinatorCalls } from './coordinator-calls.js';
import { attach, type Detached } from './handover-connections.js';
import type { Adopt, Heir } from './handover-heir.js';
import { ListeningSockets } from './handover-sockets.js';
import { Successor } from './handover-successor.js';
import { claimDirectory, loadIdentity } from './identity.js';
import { assembleParts, openCoordinator, type SheepParts } from './sheep-parts.js';
import { tlsOptions } from './tls-options.js';
import { UpgradeCall } from './upgrade-call.js';

/** The answer to the call that began the handover leaves before the doors close. */
const ANSWER_LEAVES_MS = 20;

export interface RunningSheep {
  /** Stops cleanly; `ended` resolves afterwards. */
  stop(reason: string): Promise<void>;
  /** The process's exit code. */
  readonly ended: Promise<number>;
  /** Opens the log file anew, after it was renamed. */
  reopenLog(): void;
}

/**
 * Starts a sheep; with an heir, as the successor of a process that still runs. Resolves when it serves, rejects when
 * it cannot.
 */
export async function runSheep(config: SheepConfig, heir?: Heir): Promise<RunningSheep> {
  const sheep = new SheepProcess(config);
  await sheep.start(heir);
  return sheep;
}

/** One process of a sheep: from the start, or the takeover, to the end, or the handover. */
class SheepProcess implements RunningSheep {
  readonly ended: Promise<number>;
  private end: (code: number) => void = () => {};
  private readonly logControl: LogControl;
  private readonly nodeId: string;
  private lock = -1;
  private sockets!: ListeningSockets;
  private parts: SheepParts | undefined;
  private stopping: Promise<void> | undefined;
  private handingOver: Promise<void> | undefined;
  /** While the cluster moves to another coordinator. */
  private movingAlong: Promise<void> | undefined;
  /** Parts whose coordinator is being left; they may not be in use yet. */
  private readonly leaving = new WeakSet<SheepParts>();
  /** Nothing is this process's any more. */
  private handedOver = false;
  private readonly upgradeCall = new UpgradeCall(() => this.upgrade());
  private readonly coordinatorCalls: CoordinatorCalls;

  constructor(private readonly config: SheepConfig) {
    const debugAreas = (process.env.SHEEPFOLD_DEBUG ?? '').split(',').filter((area) => area !== '');
    this.logControl = openLog({
      debugAreas,
      ...(config.log && { file: config.log }),
      ...(config.logLevel && { level: config.logLevel }),
    });
    this.nodeId = loadIdentity(config.dir).nodeId;
    this.coordinatorCalls = new CoordinatorCalls(this.log.child('coordinator'));
    this.ended = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  async start(heir: Heir | undefined): Promise<void> {
    const { config } = this;
    if (heir === undefined) {
      this.upgradeCall.serving = true;
      this.lock = await claimDirectory(config.dir);
      this.sockets = await ListeningSockets.bind(config);
      await this.open();
    } else {
      // Whatever can fail in the new program is done while the old one still serves.
      this.lock = heir.lock;
      this.sockets = await ListeningSockets.adopt(config, heir.sockets);
      const parts = await this.assemble();
      await heir.waitForGo();
      await this.open(parts);
      const adopt: Adopt = (socket, unread, silent) => parts.adopt(socket, unread, silent);
      void heir.serving(adopt).then(() => {
        this.upgradeCall.serving = true;
      });
    }
    const { port, nbdPort, httpPort } = config;
    this.log.info({ nodeId: this.nodeId, port, nbdPort, httpPort }, 'a sheep is up');
  }

  stop(reason: string, code = 0): Promise<void> {
    this.stopping ??= this.stopInOrder(reason, code);
    return this.stopping;
  }

  reopenLog(): void {
    this.logControl.reopen();
  }

  private get log(): Logger {
    return this.logControl.logger;
  }

  private async stopInOrder(reason: string, code: number): Promise<void> {
    this.log.info({ reason }, 'stopping');
    // Half a handover has no owner: it is finished first, and what was asked for is asked of the successor.
    await this.handingOver;
    await this.movingAlong;
    if (this.handedOver) return;
    await this.parts?.close();
    this.sockets.close();
    if (this.config.pidFile && this.pidIsOurs()) rmSync(this.config.pidFile, { force: true });
    this.end(code);
  }

  private async assemble(): Promise<SheepParts> {
    const { config, log, logControl } = this;
    const coordinator = await openCoordinator(config, log, {
      onLeaving: () => {
        this.leaving.add(parts);
        this.moveAlong(parts);
      },
      isWanted: () => this.stopping === undefined,
    });
    const parts: SheepParts = assembleParts({
      config,
      nodeId: this.nodeId,
      logControl,
      coordinator,
      tls: tlsOptions(config),
      sockets: this.sockets,
      handlerOf: (core) => this.upgradeCall.over(this.coordinatorCalls.over(core, coordinator)),
      onEnd: ({ kind, message }) => {
        // Of parts that were given up since, nothing counts.
        if (this.parts !== parts) return;
        log.info({ reason: message }, 'this sheep ends');
        void this.stop(message, kind === 'shutdown' ? 0 : 1);
      },
    });
    return parts;
  }

  private async open(assembled?: SheepParts): Promise<SheepParts> {
    const parts = assembled ?? (await this.assemble());
    this.parts = parts;
    if (this.leaving.has(parts)) this.moveAlong(parts);
    try {
      await parts.start();
    } catch (error) {
      if (this.parts === parts) throw error;
      // Given up on the way, as the cluster moves: that goes on by itself.
      await this.movingAlong;
    }
    if (this.config.pidFile) writeFileSync(this.config.pidFile, `${process.pid}\n`);
    return parts;
  }

  private pidIsOurs(): boolean {
    try {
      return Number(readFileSync(this.config.pidFile!, 'utf8')) === process.pid;
    } catch {
      // Gone already.
      return false;
    }
  }

  /**
   * The cluster moves to another coordinator: everything is given up, so that nothing hangs on the old one, and opened
   * again once it is known which one is in force. The sockets go on listening; clients of the sheepdog port wait.
   */
  private moveAlong(parts: SheepParts): void {
    // Parts that are handed over, or were given up, are opened by somebody else.
    if (this.parts !== parts || this.stopping !== undefined) return;
    this.parts = undefined;
    this.movingAlong = this.openElsewhere(parts).finally(() => {
      this.movingAlong = undefined;
    });
  }

  private async openElsewhere(parts: SheepParts): Promise<void> {
    this.log.info({}, 'the cluster moves to another coordinator: this sheep pauses');
    const connections: Detached[] = [];
    try {
      await sleep(systemClock, ANSWER_LEAVES_MS);
      await parts.close(connections);
      const next = await this.open();
      for (const one of connections) next.adopt(attach(one), one.unread, one.silent);
      this.log.info({}, 'this sheep goes on');
    } catch (error) {
      if (this.stopping !== undefined) return;
      this.log.error({ err: AppError.from(error).message }, 'this sheep cannot go on');
      this.end(1);
    }
  }

  /**
   * Starts the program on disk as this sheep's next process and hands over to it. Resolves with its process id when
   * it is ready and the switch begins; rejects, with nothing changed, when it does not get that far.
   */
  private async upgrade(): Promise<{ pid: number; outcome: Promise<void> }> {
    const handles = this.sockets.handles();
    if (handles === undefined)
      throw new AppError('not-supported', 'sockets cannot be handed over on this system');
    if (this.stopping !== undefined) throw new AppError('shutdown', 'System is shutting down');
    if (this.movingAlong !== undefined) throw movingError();
    const successor = Successor.start({ lock: this.lock, sockets: handles });
    this.log.info({ pid: successor.pid }, 'starting a new process of this sheep');
    try {
      await successor.ready();
      if (this.stopping !== undefined) throw new AppError('shutdown', 'System is shutting down');
      if (this.movingAlong !== undefined) throw movingError();
    } catch (error) {
      this.log.error({ err: AppError.from(error).message }, 'the new process cannot take over');
      await successor.kill();
      throw error;
    }
    const outcome = this.handOver(successor);
    this.handingOver = outcome.catch(() => {});
    return { pid: successor.pid, outcome };
  }

  /** From here on there is no way back but opening everything again. */
  private async handOver(successor: Successor): Promise<void> {
    this.log.info({ pid: successor.pid }, 'handing over to the new process');
    const { parts } = this;
    this.parts = undefined;
    const connections: Detached[] = [];
    try {
      await sleep(systemClock, ANSWER_LEAVES_MS);
      await parts?.close(connections);
      await successor.goOn();
      await successor.give(connections);
    } catch (error) {
      this.log.error(
        { err: AppError.from(error).message },
        'the new process failed; going on with the old one',
      );
      await this.takeBack(successor, connections);
      throw error;
    }
    this.log.info({ pid: successor.pid, connections: connections.length }, 'handed over');
    this.handedOver = true;
    if (this.stopping !== undefined) successor.passOn('SIGTERM');
    this.end(0);
  }

  private async takeBack(successor: Successor, connections: readonly Detached[]): Promise<void> {
    try {
      await successor.kill();
      const parts = await this.open();
      for (const one of connections) parts.adopt(attach(one), one.unread, one.silent);
    } catch (error) {
      this.log.error({ err: AppError.from(error).message }, 'this sheep cannot go on either');
      this.end(1);
    }
  }
}

function movingError(): AppError {
  return new AppError('again', 'the cluster is moving to another coordinator');
}
