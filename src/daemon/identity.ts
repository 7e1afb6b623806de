import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../base/errors.js';
import { systemRandom } from '../base/random.js';

export interface Identity {
  /** Stable for the life of the directory. */
  readonly nodeId: string;
  readonly version: 1;
}

/** Reads this sheep's identity from its directory, or makes one. */
export function loadIdentity(dir: string): Identity {
  const file = join(dir, 'node.json');
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    if (!existsSync(file)) {
      const made: Identity = { nodeId: systemRandom.bytes(8).toString('hex'), version: 1 };
      writeFileSync(`${file}.new`, JSON.stringify(made), { flush: true });
      renameSync(`${file}.new`, file);
    }
    const found = JSON.parse(readFileSync(file, 'utf8')) as Identity;
    if (found.version !== 1 || !/^[0-9a-f]{16}$/.test(found.nodeId)) {
      throw new AppError('version', `${file} is not of this version of sheepfold`);
    }
    return found;
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('system', `cannot use the directory ${dir}: ${AppError.from(error).message}`, { cause: error });
  }
}

/** Changes with every boot of the machine. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Tells machines apart: nodes of one machine lose power together. */
export function readHostId(): string {
  try {
    return readFileSync('/etc/machine-id', 'utf8').trim() || 'host';
  } catch {
    // Containers and chroots may have none; then everything with the same coordinator counts as one machine.
    return 'host';
  }
}
