import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { AppError } from '../../base/errors.js';
import type { Virsh } from '../virsh.js';

/** A large machine's memory takes its time. */
const RESTORE_MS = 6 * 3_600_000;

/**
 * Starts a domain from a saved state, which goes through a named pipe and is never a file. libvirtd must see this
 * machine's files. Rejects with AppError: what the state's source said, or libvirt.
 */
export async function restoreDomain(virsh: Virsh, state: AsyncIterable<Buffer>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-state-'));
  const path = join(folder, 'state');
  try {
    await execa('mkfifo', ['-m', '600', path]);
    await feed(path, state, () => virsh.run(['restore', '--file', path], { timeoutMs: RESTORE_MS }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Another process opens the pipe: that waits for a reader, who may never come, and it can be ended. */
async function feed(path: string, state: AsyncIterable<Buffer>, read: () => Promise<unknown>): Promise<void> {
  const writer = spawn('sh', ['-c', 'exec cat > "$1"', 'sh', path], { stdio: ['pipe', 'ignore', 'ignore'] });
  writer.on('error', () => {});
  let sourceError: unknown;
  const source = noting(state, (error) => {
    sourceError = error;
  });
  const written = pipeline(Readable.from(source, { objectMode: false }), writer.stdin).catch(() => {
    // A reader that has what it needs, or that failed, says so itself; without the rest of the state it fails.
    writer.kill('SIGKILL');
  });
  try {
    await read();
  } catch (error) {
    throw AppError.from(sourceError ?? error);
  } finally {
    writer.kill('SIGKILL');
    await written;
  }
}

/** The same parts; a failure to get one is noted, and none that the reader makes of its own. */
async function* noting(
  state: AsyncIterable<Buffer>,
  note: (error: unknown) => void,
): AsyncGenerator<Buffer, void> {
  const parts = state[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await parts.next().catch((error: unknown) => {
        note(error);
        throw error;
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    await parts.return?.();
  }
}
