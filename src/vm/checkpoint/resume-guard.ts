import { type ChildProcess, spawn } from 'node:child_process';
import type { Virsh } from '../virsh.js';

/** Tried so often, a second apart: QEMU may still be writing the state of which nobody reads the rest. */
const SCRIPT = `
read -r word && [ "$word" = done ] && exit
for try in 1 2 3 4 5 6 7 8 9 10; do
  sleep 1
  "$@" && exit
done
`;

/**
 * Lets a guest go on whose `dog` was killed while it was stopped: a small shell that waits for the end of a pipe. When
 * we end without a word, it resumes the domain, or finds that it runs.
 */
export class ResumeGuard {
  private constructor(private readonly child: ChildProcess) {}

  static start(virsh: Virsh, domain: string): ResumeGuard {
    // A session of its own: what ends us by our process group leaves it alone.
    const child = spawn('sh', ['-c', SCRIPT, 'sh', ...virsh.commandLine(['resume', '--domain', domain])], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.on('error', () => {});
    child.stdin!.on('error', () => {});
    child.unref();
    return new ResumeGuard(child);
  }

  /** The guest runs; nothing is to be done any more. */
  dismiss(): void {
    this.child.stdin!.end('done\n');
  }
}

/**
 * Resumes a domain that stopped for a checkpoint. libvirt may not have heard yet that it stopped, and then says that it
 * runs: QEMU, which knows, is told directly. Rejects with AppError.
 */
export async function resumeDomain(virsh: Virsh, domain: string): Promise<void> {
  await virsh.run(['resume', '--domain', domain]).catch(() => {});
  const { running } = Object(await virsh.monitor(domain, 'query-status')) as { running?: boolean };
  if (running !== true) await virsh.monitor(domain, 'cont');
}
