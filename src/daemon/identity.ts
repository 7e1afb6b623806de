import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sleep, systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { systemRandom } from '../base/random.js';
import { DiskError } from '../store/disk.js';
import { lockDirectory } from '../store/file-disk.js';

export const IDENTITY_FILE = 'node.json';
/** A killed process takes a moment to give back its lock. */
const CLAIM_RETRIES = 30;
const CLAIM_RETRY_MS = 100;

export interface Identity {
  /** Stable for the life of the directory. */
  readonly nodeId: string;
  readonly version: 1;
  /** The format of the cluster for which a store was made here: from then on it must be there. */
  readonly formatId?: string;
}

/** Reads this sheep's identity from its directory, or makes one. */
export function loadIdentity(dir: string): Identity {
  const file = join(dir, IDENTITY_FILE);
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    if (!existsSync(file)) {
      const made: Identity = { nodeId: systemRandom.bytes(8).toString('hex'), version: 1 };
      saveIdentity(dir, made);
    }
    const found = JSON.parse(readFileSync(file, 'utf8')) as Identity;
    if (found.version !== 1 || !/^[0-9a-f]{16}$/.test(found.nodeId)) {
      throw new AppError('version', `${file} is not of this version of sheepfold`);
    }
    return found;
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('system', `cannot use the directory ${dir}: ${AppError.from(error).message}`, {
      cause: error,
    });
  }
}

/** Remembers that this directory holds a store of the format. */
export function noteStore(dir: string, formatId: string): void {
  const { nodeId, version, formatId: noted } = loadIdentity(dir);
  if (noted !== formatId) saveIdentity(dir, { nodeId, version, formatId });
}

/** Writes the identity again when its file is gone. */
export function restoreIdentity(dir: string, identity: Identity): void {
  if (existsSync(join(dir, IDENTITY_FILE))) return;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  saveIdentity(dir, identity);
}

function saveIdentity(dir: string, identity: Identity): void {
  const file = join(dir, IDENTITY_FILE);
  writeFileSync(`${file}.new`, JSON.stringify(identity), { flush: true });
  renameSync(`${file}.new`, file);
}

/**
 * Makes the directory this process's alone until it ends: two sheep on one store would destroy it. Returns the
 * descriptor that holds the lock, which a successor may inherit. Rejects with AppError 'system' when another one
 * keeps it.
 */
export async function claimDirectory(dir: string): Promise<number> {
  for (let retries = CLAIM_RETRIES; ; retries--) {
    try {
      return lockDirectory(dir);
    } catch (error) {
      const held = error instanceof DiskError && error.code === 'exists';
      if (!held || retries === 0)
        throw new AppError('system', AppError.from(error).message, { cause: error });
      await sleep(systemClock, CLAIM_RETRY_MS);
    }
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
