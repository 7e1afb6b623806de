/** Frames made wrong: fields set to numbers that hurt, bytes turned, payload cut, stretched and swapped. */
import type { SeededRandom } from '../../src/base/random.js';
import { HEADER_BYTES } from '../../src/wire/headers.js';
import { Flag, operationOf } from '../../src/wire/sheepdog.js';
import { fatalOperations, rightLength } from '../helpers/sheepdog-lengths.js';
import type { Corpus } from './corpus.js';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Payloads are stretched up to here, and seldom up to the next. */
const STRETCH_BYTES_MAX = 64 * KIB;
const STRETCH_SELDOM_BYTES_MAX = 17 * MIB;

const bytesThatHurt = [0, 1, 2, 3, 9, 0x0a, 0x0b, 16, 19, 20, 22, 31, 32, 64, 127, 128, 254, 255];
const wordsThatHurt = [
  ...[0, 1, 2, 47, 48, 255, 256, 257, 511, 512, 513, 4095, 4096, 4097, 4663, 4664, 4665, 4668],
  ...[0xfffff, 0x100000, 0x100001, 0x3fffff, 0x400000, 0x400001, 4_198_967, 4_198_968, 4_198_972],
  ...[0xffffff, 0x1000000, 12_587_575, 12_587_576, 2_097_152, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff],
];
const kindsOfObjects = [0, 0, 0, 0x80, 0x80, 0x40, 0x20, 0x10, 0x08, 0x07, 0xc0, 0xff];

/** Offsets of what a header holds, by the variant that uses it; see wire/headers.ts. */
const Field = { version: 0, opcode: 1, flags: 2, epoch: 4, id: 8, dataLength: 12 } as const;

export class Mutator {
  constructor(
    private readonly random: SeededRandom,
    private readonly corpus: Corpus,
  ) {}

  /** A copy of a recorded frame with a few faults. `framed`: its payload is as long as its header says. */
  mutated(framed: boolean): Buffer {
    const { random } = this;
    let frame: Buffer = Buffer.from(random.pick(this.corpus.frames));
    for (let faults = random.below(4); faults > 0; faults--) frame = this.fault(frame);
    return framed ? reframed(frame) : frame;
  }

  /** A request that nobody has recorded: any opcode, its length right or wrong, fields of all kinds. */
  invented(): Buffer {
    const { random } = this;
    const opcode = random.below(256);
    const known = operationOf(opcode) !== undefined;
    const wanted = rightLength(opcode);
    const length = random.chance(0.5)
      ? wanted
      : random.pick([0, 1, wanted - 1, wanted + 1, 2 * wanted, random.below(8192)]);
    const write = random.chance(0.5);
    const frame = Buffer.alloc(HEADER_BYTES + (write ? Math.min(length, MIB) : 0));
    // What stops a sheep comes with a version that it refuses.
    const right = known && random.chance(0.9) && !fatalOperations.has(opcode);
    frame[Field.version] = right ? rightVersion(opcode) : random.below(256);
    frame[Field.opcode] = opcode;
    frame.writeUInt16LE((write ? Flag.WRITE : 0) | (random.chance(0.3) ? random.below(0x800) & ~1 : 0), 2);
    frame.writeUInt32LE(write ? frame.length - HEADER_BYTES : random.chance(0.1) ? this.word() : length, 12);
    this.fillFields(frame);
    if (write && random.chance(0.7))
      random.bytes(Math.min(512, frame.length - HEADER_BYTES)).copy(frame, HEADER_BYTES);
    return frame;
  }

  /** Bytes 16 to 47: as an object's request, as a volume's, or noise. */
  private fillFields(frame: Buffer): void {
    const { random } = this;
    const what = random.below(4);
    if (what === 0) random.bytes(32).copy(frame, 16);
    else if (what === 1) for (let at = 16; at < 48; at += 4) frame.writeUInt32LE(this.word(), at);
    else if (what === 2) {
      this.oid().copy(frame, 16);
      if (random.chance(0.3)) this.oid().copy(frame, 24);
      if (random.chance(0.5)) frame.writeUInt32LE(this.word(), 40);
    }
  }

  private fault(frame: Buffer): Buffer {
    const { random } = this;
    const kind = random.below(12);
    if (kind === 0) frame[Field.version] = random.pick(bytesThatHurt);
    else if (kind === 1)
      frame[Field.opcode] = random.chance(0.5) ? random.below(256) : random.pick(this.corpus.frames)[1]!;
    else if (kind === 2) frame.writeUInt16LE(frame.readUInt16LE(2) ^ (1 << random.below(12)), 2);
    else if (kind === 3) frame.writeUInt32LE(this.word(), random.pick([4, 12, 12, 12]));
    else if (kind === 4) this.oid().copy(frame, random.pick([16, 16, 24]));
    else if (kind === 5) frame.writeUInt32LE(this.word(), random.pick([16, 20, 24, 32, 36, 40, 44]));
    else if (kind === 6) frame[16 + random.below(32)] = random.pick(bytesThatHurt);
    else if (kind === 7) frame[random.below(HEADER_BYTES)]! ^= 1 << random.below(8);
    else if (kind === 8) frame = this.payloadFrom(frame, random.pick(this.corpus.frames));
    else if (kind === 9) frame = this.resized(frame);
    else if (frame.length > HEADER_BYTES) this.dirty(frame);
    return frame;
  }

  private dirty(frame: Buffer): void {
    const { random } = this;
    const room = frame.length - HEADER_BYTES;
    for (let n = 1 + random.below(4); n > 0; n--) {
      const at = HEADER_BYTES + random.below(Math.min(room, random.chance(0.8) ? 700 : room));
      if (random.chance(0.5) || at + 4 > frame.length) frame[at] = random.pick(bytesThatHurt);
      else frame.writeUInt32LE(this.word(), at);
    }
    if (random.chance(0.1)) frame.fill(random.pick([0, 0xff, 0x41]), HEADER_BYTES);
  }

  private resized(frame: Buffer): Buffer {
    const { random } = this;
    const now = frame.length - HEADER_BYTES;
    const max = random.chance(0.01) ? STRETCH_SELDOM_BYTES_MAX : STRETCH_BYTES_MAX;
    const wanted = random.pick([0, 1, now - 1, now + 1, now * 2, 256, 512, random.below(max)]);
    const out = Buffer.alloc(HEADER_BYTES + Math.max(0, Math.min(wanted, max)));
    frame.copy(out);
    return out;
  }

  private payloadFrom(frame: Buffer, other: Buffer): Buffer {
    return Buffer.concat([frame.subarray(0, HEADER_BYTES), other.subarray(HEADER_BYTES)]);
  }

  private oid(): Buffer {
    const { random } = this;
    const out = Buffer.alloc(8);
    out.writeUInt32LE(random.chance(0.7) ? random.below(4) : this.word(), 0);
    const near = random.pick([-1, 0, 0, 0, 1, 2]);
    const vid =
      random.chance(0.8) && this.corpus.vids.length > 0 ? random.pick(this.corpus.vids) + near : random.u32();
    out.writeUInt32LE((vid & 0xffffff) >>> 0, 4);
    out[7] = random.pick(kindsOfObjects);
    return out;
  }

  private word(): number {
    const { random } = this;
    return random.chance(0.8) ? random.pick(wordsThatHurt) : random.u32();
  }
}

function rightVersion(opcode: number): number {
  return opcode < 0x80 || opcode === 0xe0 ? 2 : 0x0a;
}

/** data_length set to the payload that follows, or the payload dropped where the flag is missing. */
export function reframed(frame: Buffer): Buffer {
  if ((frame.readUInt16LE(2) & Flag.WRITE) === 0) return frame.subarray(0, HEADER_BYTES);
  frame.writeUInt32LE(frame.length - HEADER_BYTES, Field.dataLength);
  return frame;
}
