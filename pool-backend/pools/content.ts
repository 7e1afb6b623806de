import { AppError } from '../../src/base/errors.js';
import { LibvirtError } from '../rpc/errors.js';
import type { Volume } from './volume.js';

/** Bytes of one call to the cluster, and how many calls are under way for one transfer. */
export const PIECE_BYTES = 1024 * 1024;
const PIECES_AT_ONCE = 4;
const DISCARD_STEP_BYTES = 1024 ** 3;

/** A run of bytes, or a run of zeroes that take no room. */
export type Piece = { readonly data: Buffer } | { readonly holeBytes: number };

/**
 * The content of a volume from one place on. With `sparse`, what no object stands for comes as holes. A few pieces are
 * read ahead; whoever stops asking stops the reading.
 */
export async function* readContent(
  volume: Volume,
  range: { offset: number; length: number; sparse: boolean },
): AsyncGenerator<Piece> {
  const spans = range.sparse ? await dataSpans(volume, range) : [{ ...range, hole: false }];
  for (const { offset, length, hole } of spans) {
    if (hole) yield { holeBytes: length };
    else yield* readSpan(volume, offset, length);
  }
}

async function* readSpan(volume: Volume, offset: number, length: number): AsyncGenerator<Piece> {
  const end = offset + length;
  const ahead: Promise<Buffer>[] = [];
  for (let next = offset; next < end || ahead.length > 0; ) {
    while (next < end && ahead.length < PIECES_AT_ONCE) {
      const bytes = Math.min(PIECE_BYTES, end - next);
      const piece = readPiece(volume, next, bytes);
      // Waited for below, unless the reader is gone before.
      piece.catch(() => undefined);
      ahead.push(piece);
      next += bytes;
    }
    yield { data: await ahead.shift()! };
  }
}

async function readPiece({ pool, ref }: Volume, offset: number, length: number): Promise<Buffer> {
  const { blob } = await pool.call('vdi.read', { ...ref, offset, length });
  if (blob.length !== length) throw new AppError('io', 'the volume became smaller while it was read');
  return blob;
}

interface Span {
  readonly offset: number;
  readonly length: number;
  readonly hole: boolean;
}

/** The range cut where data and holes meet, by the volume's map of objects. */
async function dataSpans(volume: Volume, range: { offset: number; length: number }): Promise<Span[]> {
  const { entries } = await volume.pool.ask('vdi.map', volume.ref);
  const objectBytes = 2 ** volume.info.blockSizeShift;
  const present = new Set(entries.map(([index]) => index));
  const end = range.offset + range.length;
  const spans: Span[] = [];
  for (let at = range.offset; at < end; ) {
    const index = Math.floor(at / objectBytes);
    const hole = !present.has(index);
    const length = Math.min(end, (index + 1) * objectBytes) - at;
    const last = spans.at(-1);
    if (last?.hole === hole) spans[spans.length - 1] = { ...last, length: last.length + length };
    else spans.push({ offset: at, length, hole });
    at += length;
  }
  return spans;
}

/**
 * Writes a stream into a volume from one place on. `write` and `hole` resolve when more may come: at most four pieces
 * are under way. The first failure is told by whatever is called next.
 */
export class ContentWriter {
  private readonly underWay = new Set<Promise<void>>();
  private gathered: Buffer[] = [];
  private gatheredBytes = 0;
  private failure: unknown;

  private constructor(
    private readonly volume: Volume,
    private offset: number,
    private readonly end: number,
  ) {}

  /** `length` 0: to the end of the volume. Throws LibvirtError when the volume cannot be written to. */
  static open(volume: Volume, offset: number, length: number): ContentWriter {
    refuseFrozen(volume);
    const end = length === 0 ? volume.info.sizeBytes : Math.min(volume.info.sizeBytes, offset + length);
    return new ContentWriter(volume, offset, end);
  }

  async write(data: Buffer): Promise<void> {
    this.reserve(data.length);
    this.gathered.push(data);
    this.gatheredBytes += data.length;
    if (this.gatheredBytes >= PIECE_BYTES) await this.sendGathered();
    this.check();
  }

  /** Goes on behind a range that is left as it is. */
  async skip(lengthBytes: number): Promise<void> {
    this.reserve(lengthBytes);
    await this.sendGathered();
    this.offset += lengthBytes;
  }

  /** The range is discarded. */
  async hole(lengthBytes: number): Promise<void> {
    this.reserve(lengthBytes);
    await this.sendGathered();
    const { offset } = this;
    this.offset += lengthBytes;
    await this.send(() => discardRange(this.volume, offset, lengthBytes));
    this.check();
  }

  /** Everything is on stable storage when it resolves. */
  async finish(): Promise<void> {
    await this.sendGathered();
    await Promise.all(this.underWay);
    this.check();
    await this.volume.pool.ask('vdi.flush', { name: this.volume.vdi });
  }

  /** Waits for what is under way: the volume is left alone afterwards. */
  async abort(): Promise<void> {
    this.gathered = [];
    this.gatheredBytes = 0;
    await Promise.all(this.underWay);
  }

  private reserve(bytes: number): void {
    if (this.offset + this.gatheredBytes + bytes <= this.end) return;
    throw new LibvirtError('system', 'cannot write to stream: No space left on device');
  }

  private async sendGathered(): Promise<void> {
    if (this.gatheredBytes === 0) return;
    const blob = this.gathered.length === 1 ? this.gathered[0]! : Buffer.concat(this.gathered);
    const { offset } = this;
    this.offset += blob.length;
    this.gathered = [];
    this.gatheredBytes = 0;
    await this.send(() => writeRange(this.volume, offset, blob));
  }

  private async send(work: () => Promise<void>): Promise<void> {
    while (this.underWay.size >= PIECES_AT_ONCE) await Promise.race(this.underWay);
    const one: Promise<void> = work()
      .catch((error: unknown) => {
        this.failure ??= error;
      })
      .finally(() => this.underWay.delete(one));
    this.underWay.add(one);
  }

  private check(): void {
    if (this.failure !== undefined) throw this.failure;
  }
}

const CALL_BYTES_MAX = 4 * 1024 * 1024;

/** One client may send a packet larger than what one call carries. */
async function writeRange({ pool, vdi }: Volume, offset: number, blob: Buffer): Promise<void> {
  for (let at = 0; at < blob.length; at += CALL_BYTES_MAX) {
    const part = blob.subarray(at, at + CALL_BYTES_MAX);
    await pool.call('vdi.write', { name: vdi, offset: offset + at }, { blob: part });
  }
}

/** Makes a range zeroes that take no room. */
export async function discardRange({ pool, vdi }: Volume, offset: number, length: number): Promise<void> {
  const end = offset + length;
  for (let at = offset; at < end; at += DISCARD_STEP_BYTES) {
    await pool.ask('vdi.discard', { name: vdi, offset: at, length: Math.min(DISCARD_STEP_BYTES, end - at) });
  }
}

/** Throws LibvirtError 'operation-invalid' for a snapshot or an image. */
export function refuseFrozen(volume: Volume): void {
  if (!volume.frozen) return;
  const what = volume.snapshot ? 'a snapshot' : 'an image';
  throw new LibvirtError('operation-invalid', `volume '${volume.name}' is ${what}: nobody can change it`);
}
