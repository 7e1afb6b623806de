/** What a bad disk does to the store of a sheep: knows where the store (src/store/README.md) keeps what. */
import type { SeededRandom } from '../../src/base/random.js';
import { blocksOfFile } from '../../src/store/object-slot.js';
import type { FakeDisk, FakeOp, Fault } from '../helpers/fake-disk.js';
import type { DiskDamage } from '../helpers/sim-disk.js';

const BLOCK = 4096;
const TRIES = 20;
const OBJECT = /^obj\/[0-9a-f]+\/[0-9a-f]{16}$/;

export function damageOf(disk: FakeDisk): DiskDamage {
  const usual = disk.capacityBytes;
  return {
    flipBit: (where, random) =>
      where === 'journal' ? flipJournal(disk, random) : flipObject(disk, where, random),
    spoilNextWrite: (how, random, may, onSpoiled) => {
      disk.onOp = (op) => {
        if (!may()) return undefined;
        const fault = spoil(disk, op, how, random);
        if (fault === undefined) return undefined;
        disk.onOp = undefined;
        onSpoiled();
        return fault;
      };
    },
    lieAboutSyncs: (lies) => {
      disk.onOp = lies ? (op) => (op.kind === 'sync' ? { type: 'lose' } : undefined) : undefined;
    },
    setFree: (bytes) => {
      disk.capacityBytes = bytes === undefined ? usual : Math.min(usual, disk.usedBytes + bytes);
    },
  };
}

function objectsOn(disk: FakeDisk): string[] {
  return disk
    .list('obj')
    .flatMap((folder) => disk.list(`obj/${folder}`).map((name) => `obj/${folder}/${name}`));
}

/** A block of data, or the tables behind them; undefined when there is none with anything in it. */
function flipObject(disk: FakeDisk, where: 'block' | 'table', random: SeededRandom): string | undefined {
  const objects = objectsOn(disk);
  for (let i = 0; i < TRIES && objects.length > 0; i++) {
    const path = random.pick(objects);
    const size = disk.open(path).size();
    const blocks = blocksOfFile(size);
    if (blocks === undefined) continue;
    const from = where === 'block' ? 0 : blocks * BLOCK;
    const end = where === 'block' ? blocks * BLOCK : size;
    if (flipIn(disk, path, from, end, random)) return path;
  }
  return undefined;
}

function flipJournal(disk: FakeDisk, random: SeededRandom): string | undefined {
  for (let i = 0; i < TRIES; i++) {
    const path = `journal-${random.below(2)}`;
    if (disk.exists(path) && flipIn(disk, path, 0, disk.open(path).size(), random)) return path;
  }
  return undefined;
}

/** Flips one bit in a block that is not all zeros, and that is on the platter: only there does it rot. */
function flipIn(disk: FakeDisk, path: string, from: number, end: number, random: SeededRandom): boolean {
  for (let i = 0; i < TRIES; i++) {
    const at = from + BLOCK * random.below((end - from) / BLOCK);
    if (disk.isDirty(path, at) || disk.peek(path, at, BLOCK).every((byte) => byte === 0)) continue;
    disk.flipBit(path, at + random.below(BLOCK), random.below(8));
    return true;
  }
  return false;
}

/** Only whole blocks of data: a table or a journal batch that never arrives is more than any checksum can tell. */
function spoil(
  disk: FakeDisk,
  op: FakeOp,
  how: 'lose' | 'misdirect',
  random: SeededRandom,
): Fault | undefined {
  if (op.kind !== 'write' || !OBJECT.test(op.path)) return undefined;
  const blocks = blocksOfFile(disk.open(op.path).size());
  if (blocks === undefined || op.offset + op.length > blocks * BLOCK) return undefined;
  if (how === 'lose') return { type: 'lose' };
  const path = random.pick(objectsOn(disk));
  const room = (blocksOfFile(disk.open(path).size()) ?? 0) - op.length / BLOCK;
  return room < 0 ? undefined : { type: 'misdirect', path, offset: BLOCK * random.below(room + 1) };
}
