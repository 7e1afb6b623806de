/** What one connection sends, made from a seed: the same seed and corpus give the same bytes. */
import { SeededRandom } from '../../src/base/random.js';
import { looksLikePeer } from '../../src/net/peer-codec.js';
import { type Frame, Framer } from '../../src/wire/framer.js';
import { commonHeader, HEADER_BYTES } from '../../src/wire/headers.js';
import { Flag, Op, SHEEP_VERSION } from '../../src/wire/sheepdog.js';
import type { Corpus } from './corpus.js';
import { Mutator } from './mutate.js';

/** No request may have more payload than this; a server hangs up instead of reading it. */
const PAYLOAD_BYTES_HUGE = 128 * 1024 * 1024;
const FRAMES_MAX = 24;

export type StreamKind = 'session' | 'mutated' | 'invented' | 'unframed' | 'garbage';
export type Manner = 'whole' | 'dribble' | 'cut-end' | 'cut-reset' | 'deaf';

export interface Stream {
  readonly number: number;
  readonly kind: StreamKind;
  readonly manner: Manner;
  readonly bytes: Buffer;
  /** What a server takes it for. */
  readonly frames: readonly Frame[];
  /** The frame in which it ends, when its header is whole: a server may refuse it before the rest is there. */
  readonly tail: Frame | undefined;
  /** Nothing is cut off and no payload is huge: every frame must be answered, on a connection that stays. */
  readonly intact: boolean;
  /** For how it is sent. */
  readonly random: SeededRandom;
}

/** What no stream may contain, wherever it stands: the name and the vid of the volume that must not be touched. */
export interface Untouchable {
  readonly name: Buffer;
  readonly vid: number;
}

const kinds: readonly [StreamKind, number][] = [
  ['session', 20],
  ['mutated', 45],
  ['invented', 20],
  ['unframed', 10],
  ['garbage', 5],
];
const manners: readonly [Manner, number][] = [
  ['whole', 55],
  ['dribble', 15],
  ['cut-end', 10],
  ['cut-reset', 10],
  ['deaf', 10],
];

/** The stream of this number; undefined when it would do what fuzzing must not do. */
export function makeStream(
  seed: number,
  number: number,
  corpus: Corpus,
  untouchable: Untouchable,
): Stream | undefined {
  const random = new SeededRandom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
  const kind = weighted(random, kinds);
  const manner = weighted(random, manners);
  const bytes = bytesOf(kind, random, corpus);
  if (touches(bytes, untouchable)) return undefined;
  const { frames, tail, rest } = framesOf(bytes);
  if (frames.some(isFatal)) return undefined;
  const cut = manner === 'cut-end' || manner === 'cut-reset';
  const intact = !cut && !rest && looksLikePeer(bytes) === false && !frames.some(isHuge);
  return { number, kind, manner, bytes, frames, tail, intact, random };
}

function bytesOf(kind: StreamKind, random: SeededRandom, corpus: Corpus): Buffer {
  const mutator = new Mutator(random, corpus);
  const count = 1 + random.below(FRAMES_MAX);
  if (kind === 'session') return numbered(random.pick(corpus.sessions).map((frame) => Buffer.from(frame)));
  if (kind === 'mutated') return numbered(Array.from({ length: count }, () => mutator.mutated(true)));
  if (kind === 'invented') return numbered(Array.from({ length: count }, () => mutator.invented()));
  if (kind === 'unframed') return Buffer.concat(Array.from({ length: count }, () => mutator.mutated(false)));
  return random.bytes(1 + random.below(random.chance(0.1) ? 60_000 : 400));
}

/** Ids of their own, so that every answer can be matched. */
function numbered(frames: Buffer[]): Buffer {
  for (const [id, frame] of frames.entries()) frame.writeUInt32LE(id, 8);
  return Buffer.concat(frames);
}

/** The stream as a server takes it apart; `rest`: it ends inside a frame. */
function framesOf(bytes: Buffer): { frames: Frame[]; tail: Frame | undefined; rest: boolean } {
  const frames: Frame[] = [];
  const whole = wholeFrames(bytes);
  Framer.forRequests((frame) => frames.push(frame), Number.MAX_SAFE_INTEGER).push(bytes.subarray(0, whole));
  let tail: Frame | undefined;
  if (whole + HEADER_BYTES <= bytes.length) {
    const header = Buffer.from(bytes.subarray(whole, whole + HEADER_BYTES));
    tail = { ...commonHeader.decode(header), header, payload: Buffer.alloc(0) };
  }
  return { frames, tail, rest: whole < bytes.length };
}

/** Bytes of the frames that are complete. */
function wholeFrames(bytes: Buffer): number {
  for (let at = 0; ; ) {
    if (at + HEADER_BYTES > bytes.length) return at;
    const { flags, dataLength } = commonHeader.decode(bytes, at);
    const end = at + HEADER_BYTES + ((flags & Flag.WRITE) === 0 ? 0 : dataLength);
    if (end > bytes.length) return at;
    at = end;
  }
}

function touches(bytes: Buffer, { name, vid }: Untouchable): boolean {
  const vidBytes = Buffer.of(vid & 0xff, (vid >> 8) & 0xff, vid >> 16);
  return bytes.includes(name) || bytes.includes(vidBytes);
}

/** Does what it says: stops a sheep, or wipes the cluster. Sent with another version or store it is welcome. */
function isFatal({ opcode, version, payload }: Frame): boolean {
  if (version !== SHEEP_VERSION && opcode !== Op.CONTROL) return false;
  if (opcode === Op.SHUTDOWN || opcode === Op.KILL_NODE) return true;
  if (opcode === Op.MAKE_FS)
    return payload.length === 0 || /^(plain|tree)?\0/.test(payload.toString('latin1', 0, 6));
  return (
    opcode === Op.CONTROL &&
    /cluster\.(shutdown|format)|node\.(upgrade|kill)/.test(payload.toString('latin1'))
  );
}

function isHuge({ flags, dataLength }: Frame): boolean {
  return (flags & Flag.WRITE) !== 0 && dataLength > PAYLOAD_BYTES_HUGE;
}

function weighted<T>(random: SeededRandom, rows: readonly (readonly [T, number])[]): T {
  let left = random.below(rows.reduce((sum, [, weight]) => sum + weight, 0));
  for (const [value, weight] of rows) {
    if (left < weight) return value;
    left -= weight;
  }
  return rows[0]![0];
}
