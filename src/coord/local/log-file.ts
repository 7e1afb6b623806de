import { assert } from '../../base/assert.js';
import { AppError, type ErrorCode } from '../../base/errors.js';
import { type Disk, DiskError, type DiskErrorCode, type DiskFile } from '../../store/disk.js';
import type { KeyValueState } from '../key-value-state.js';
import { encodeRecord, type LogRecord, nextChain, type ScannedRecord, scanRecords } from './record.js';
import {
  decodeHeader,
  decodeSnapshot,
  encodeHead,
  FILE_HEADER_BYTES,
  type FileHeader,
  type Yield,
} from './snapshot.js';

/** Processes that start at this very moment can be unlucky for a new file, but not often in a row. */
const INSTALL_ATTEMPTS = 10;

/** One generation of the shared log, open for reading along and appending. */
export class LogFile {
  /** Offset of the first byte that is not decided yet. */
  private position: number;
  /** At index n the chain of the first n records (record.ts). */
  private readonly chains: number[] = [0];

  private constructor(
    private readonly file: DiskFile,
    readonly header: FileHeader,
  ) {
    this.position = FILE_HEADER_BYTES + header.snapshotBytes;
  }

  get generation(): number {
    return this.header.generation;
  }

  get recordCount(): number {
    return this.chains.length - 1;
  }

  /** Bytes of records read so far. */
  get recordBytes(): number {
    return this.position - FILE_HEADER_BYTES - this.header.snapshotBytes;
  }

  /** Throws AppError 'missing' when there is no such file, 'version' or 'checksum' when it cannot be used. */
  static open(disk: Disk, folder: string, generation: number): LogFile {
    const path = logPath(folder, generation);
    const file = translated(() => disk.open(path));
    try {
      const header = decodeHeader(readAt(file, 0, FILE_HEADER_BYTES), path);
      // Opens for appending now: later the name may be gone, or stand for another file.
      translated(() => file.append(Buffer.alloc(0)));
      if (header.generation !== generation) {
        throw new AppError('checksum', `${path} says that it is generation ${header.generation}`);
      }
      return new LogFile(file, header);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  snapshot(): KeyValueState {
    return decodeSnapshot(
      readAt(this.file, FILE_HEADER_BYTES, this.header.snapshotBytes),
      this.header,
      this.file.path,
    );
  }

  /** Whether somebody may have written since the last `readOn`. */
  hasMore(): boolean {
    return translated(() => this.file.size()) > this.position;
  }

  /** One atomic append. Throws AppError 'no-space' when there is no room: what was written then is no record. */
  append(record: LogRecord): void {
    const seen = { count: this.recordCount, chain: this.chains.at(-1)! };
    const bytes = encodeRecord(record, this.generation, seen);
    translated(() => this.file.append(bytes));
  }

  /**
   * The records since the last call, on stable storage before anybody sees them: no process ever acts on a state that
   * a power cut could take back. Throws AppError 'io' when the sync failed and 'checksum' when the file lost a record:
   * nothing more of it may be believed then.
   */
  async readOn(): Promise<LogRecord[]> {
    const sizeBytes = translated(() => this.file.size());
    if (sizeBytes < this.position) throw new AppError('io', `${this.file.path} became shorter`);
    if (sizeBytes === this.position) return [];
    const tail = readAt(this.file, this.position, sizeBytes - this.position);
    const { records, consumedBytes } = scanRecords(tail, this.generation);
    if (records.length > 0) await this.sync();
    for (const scanned of records) this.link(scanned);
    this.position += consumedBytes;
    return records.map(({ record }) => record);
  }

  /** Whether a rotate record stands somewhere in the file. Does not move the place of reading. */
  isEnded(): boolean {
    const start = FILE_HEADER_BYTES + this.header.snapshotBytes;
    const bytes = readAt(this.file, start, Math.max(0, translated(() => this.file.size()) - start));
    return scanRecords(bytes, this.generation).records.some(
      ({ record }) => record.proposal.kind === 'rotate',
    );
  }

  close(): void {
    this.file.close();
  }

  /** Torn records are nobody's loss; a whole one that others applied and we cannot read is: better stop than drift. */
  private link({ seen, checksum }: ScannedRecord): void {
    if (this.chains[seen.count] !== seen.chain) {
      throw new AppError(
        'checksum',
        `${this.file.path} is damaged: records that others applied are not readable`,
      );
    }
    this.chains.push(nextChain(this.chains.at(-1)!, checksum));
  }

  private async sync(): Promise<void> {
    try {
      await this.file.sync();
    } catch (error) {
      throw new AppError('io', `${this.file.path} could not be synced`, { cause: error });
    }
  }
}

/** Generations present in the folder, rising. */
export function listGenerations(disk: Disk, folder: string): number[] {
  const names = translated(() => disk.list(folder)).filter((name) => /^log\.[0-9a-f]{8}$/.test(name));
  return names.map((name) => Number.parseInt(name.slice(4), 16)).sort((a, b) => a - b);
}

export function logPath(folder: string, generation: number): string {
  assert(generation > 0 && generation <= 0xffffffff, 'the generation of a log is a positive u32');
  return `${folder}/log.${generation.toString(16).padStart(8, '0')}`;
}

/**
 * Creates a generation, or finds that another process did. The name appears with the whole content behind it
 * (link of a synced file), so a crash here leaves a `tmp.` file, never half a log.
 */
export async function installGeneration(
  disk: Disk,
  folder: string,
  generation: number,
  state: KeyValueState,
  temporaryName: string,
  giveWay: Yield = async () => {},
): Promise<FileHeader> {
  const { pieces, header } = await encodeHead(state, generation, giveWay);
  const path = logPath(folder, generation);
  for (let attempt = 1; !translated(() => disk.exists(path)); attempt++) {
    // Never a name used before: it might still stand for a log file, if it could not be removed after the link.
    const temporary = `${folder}/tmp.${temporaryName}.${generation}.${attempt}`;
    try {
      await writeSynced(disk, temporary, pieces);
      disk.link(temporary, path);
    } catch (error) {
      // A process that started just now took our temporary file for one of the dead.
      const isTaken = isDiskError(error, 'missing') && attempt < INSTALL_ATTEMPTS;
      const isThere = isDiskError(error, 'exists') && disk.exists(path);
      if (!isTaken && !isThere) throw translate(error);
    } finally {
      removeIfThere(disk, temporary);
    }
  }
  return header;
}

async function writeSynced(disk: Disk, path: string, pieces: readonly Buffer[]): Promise<void> {
  const file = disk.open(path, { create: true, exclusive: true });
  try {
    file.write(pieces, 0);
    await file.sync();
  } finally {
    file.close();
  }
}

export function removeIfThere(disk: Disk, path: string): void {
  try {
    disk.unlink(path);
  } catch (error) {
    // What cannot be removed now is removed by a later clean-up; it only takes room.
    if (!(error instanceof DiskError)) throw error;
  }
}

function readAt(file: DiskFile, offset: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  const count = translated(() => file.read(buffer, offset));
  return buffer.subarray(0, count);
}

export function isDiskError(error: unknown, ...codes: DiskErrorCode[]): boolean {
  return error instanceof DiskError && codes.includes(error.code);
}

const appCodes: Record<DiskErrorCode, ErrorCode> = {
  exists: 'exists',
  missing: 'missing',
  'no-space': 'no-space',
  io: 'io',
  'read-only': 'read-only',
  denied: 'read-only',
  'too-many-files': 'system',
};

export function translate(error: unknown): unknown {
  if (!(error instanceof DiskError)) return error;
  return new AppError(appCodes[error.code], `coordinator: ${error.message}`, { cause: error });
}

export function translated<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw translate(error);
  }
}
