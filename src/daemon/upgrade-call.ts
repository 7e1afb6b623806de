import { AppError } from '../base/errors.js';
import type { ControlCaller, ControlHandler } from '../control/api.js';
import { checkFields, checkOptionalInteger } from '../control/params.js';

const PID_MAX = 2 ** 22;

/** Begins an upgrade; `outcome` rejects when the old process has taken everything back. */
export type Upgrade = () => Promise<{ pid: number; outcome: Promise<void> }>;

/**
 * The control call `node.upgrade`. Without parameters it begins an upgrade and answers with the new process's id; with
 * that id it says, whichever process answers by then, what became of it.
 */
export class UpgradeCall {
  /** This process has taken over, if it had to, and the one before it is gone. */
  serving = false;
  private running = false;
  private failure: { readonly pid: number; readonly error: AppError } | undefined;

  constructor(private readonly upgrade: Upgrade) {}

  /** A handler that answers `node.upgrade` itself and everything else by `inner`. */
  over(inner: ControlHandler): ControlHandler {
    return {
      call: async (method, params, blob, onProgress, caller) => {
        if (method !== 'node.upgrade') return inner.call(method, params, blob, onProgress, caller);
        return { result: await this.call(params, caller) };
      },
    };
  }

  private async call(
    params: unknown,
    caller: ControlCaller | undefined,
  ): Promise<{ pid: number; done: boolean }> {
    // Whoever may start programs of this machine is on it.
    if (caller?.local !== true) {
      throw new AppError('not-supported', 'a sheep is upgraded from its own machine only');
    }
    const pid = checkOptionalInteger(checkFields(params).pid, 'pid', 1, PID_MAX);
    if (pid === undefined) return this.begin();
    if (this.failure?.pid === pid) throw this.failure.error;
    return { pid: process.pid, done: process.pid === pid && this.serving };
  }

  private async begin(): Promise<{ pid: number; done: boolean }> {
    if (this.running) throw new AppError('again', 'an upgrade of this sheep is under way');
    this.running = true;
    try {
      const { pid, outcome } = await this.upgrade();
      outcome.then(
        () => {},
        (error: unknown) => {
          this.failure = { pid, error: AppError.from(error, 'system') };
          this.running = false;
        },
      );
      return { pid, done: false };
    } catch (error) {
      this.running = false;
      throw AppError.from(error, 'system');
    }
  }
}
