import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Logger } from '../../base/log.js';

/** Read by the shell below: the address, then the leases that are held, one line for each change. */
const ADDRESS_VARIABLE = 'SHEEPFOLD_GUARDED_ETCD';

/**
 * A shell costs next to nothing while it waits. Its input ends when the sheep is gone, however that came about; then it
 * becomes the program that gives the leases back.
 */
const SCRIPT = `trap '' HUP INT TERM
IFS= read -r address || exit 0
held=
while IFS= read -r line; do held=$line; done
[ -n "$held" ] || exit 0
${ADDRESS_VARIABLE}=$address exec "$0" "$1" $held`;

/**
 * etcd learns that a holder is dead from its silence only, after seconds. But the kernel of its machine knows at once:
 * so a process beside the sheep waits for its end and then revokes its leases (D-6: a kill -9 stalls I/O for well
 * under a second). When both die together, or the machine does, the leases end at their time.
 */
export class Guardian {
  private child: ChildProcess | undefined;
  private readonly held = new Set<string>();

  constructor(
    private readonly address: string,
    private readonly log: Logger,
  ) {}

  /** The lease is to be given back when this process ends without doing so. */
  hold(leaseId: string): void {
    this.held.add(leaseId);
    // Who never holds a lease needs none.
    this.child ??= this.start();
    this.tell();
  }

  release(leaseId: string): void {
    if (this.held.delete(leaseId)) this.tell();
  }

  /** Nothing is left to be given back. */
  close(): void {
    this.held.clear();
    this.tell();
    this.child?.stdin?.end();
    this.child = undefined;
  }

  private start(): ChildProcess | undefined {
    const { address, log } = this;
    const without = (error: unknown) =>
      log.warn({ err: String(error) }, 'no guardian: should this sheep be killed, its lease ends late');
    try {
      const main = fileURLToPath(new URL('./guardian-main.js', import.meta.url));
      // Of a session of its own: what ends the sheep's group must not end it.
      const child = spawn('/bin/sh', ['-c', SCRIPT, process.execPath, main], {
        stdio: ['pipe', 'ignore', 'ignore'],
        detached: true,
      });
      child.on('error', without);
      child.stdin.on('error', () => {});
      child.unref();
      (child.stdin as unknown as Socket).unref();
      child.stdin.write(`${address}\n`);
      return child;
    } catch (error) {
      without(error);
      return undefined;
    }
  }

  private tell(): void {
    if (this.child?.stdin?.writable) this.child.stdin.write(`${[...this.held].join(' ')}\n`);
  }
}

/** What the guardian was told; undefined when nobody did. */
export function guardedAddress(env: Readonly<Record<string, string | undefined>>): string | undefined {
  return env[ADDRESS_VARIABLE];
}
