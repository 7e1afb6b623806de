import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type DiskRecord,
  decodeDiskRecord,
  encodeDiskRecord,
  type FoundDisk,
  judgeDisks,
} from '../../../../src/store/disks/disk-record.js';

const entry = (id: string) => ({ id, weight: 1000 });
const recordOf = (id: string, generation: number, members: string[], incomplete = false): DiskRecord => ({
  id,
  generation,
  incomplete,
  members: members.map(entry),
});

test('a record has these bytes', () => {
  const record: DiskRecord = {
    id: '0123456789abcdef',
    generation: 3,
    incomplete: true,
    members: [
      { id: '0123456789abcdef', weight: 500 },
      { id: 'fedcba9876543210', weight: 7, leaving: true },
    ],
  };
  const text =
    'sheepfold-disks 1\n{"id":"0123456789abcdef","generation":3,"incomplete":true,"members":[' +
    '{"id":"0123456789abcdef","weight":500},{"id":"fedcba9876543210","weight":7,"leaving":true}]}\n';
  const bytes = encodeDiskRecord(record);
  assert.is(bytes.toString().slice(0, -9), text);
  assert.is(bytes.toString().slice(-9), 'ca68c13c\n');
  assert.equal(decodeDiskRecord(bytes), record);
});

test('a damaged record and one of a newer program are told apart', () => {
  const bytes = encodeDiskRecord(recordOf('aa', 1, ['aa']));
  bytes[30]! ^= 1;
  assert.throws(() => decodeDiskRecord(bytes), /damaged/);
  assert.throws(() => decodeDiskRecord(Buffer.from('sheepfold-disks 2\nwhatever')), /format 2/);
});

/** What can be found on a disk, for two disks and the pair of them. */
const kinds = ['empty', 'alone', 'waiting', 'waiting with store', 'member', 'older', 'stranger'] as const;
type Kind = (typeof kinds)[number];

function found(kind: Kind, id: string, both: string[]): FoundDisk {
  switch (kind) {
    case 'empty':
      return { record: undefined, hasStore: false };
    case 'alone':
      return { record: undefined, hasStore: true };
    case 'waiting':
      return { record: recordOf(id, 0, []), hasStore: false };
    case 'waiting with store':
      return { record: recordOf(id, 0, []), hasStore: true };
    case 'member':
      return { record: recordOf(id, 5, both), hasStore: true };
    case 'older':
      return { record: recordOf(id, 4, both), hasStore: true };
    case 'stranger':
      return { record: recordOf(`${id}x`, 4, [`${id}x`]), hasStore: true };
  }
}

/** Rows: what is on disk a; columns: on disk b. m member, j joining, s stale, X refused, - one is missing. */
const table = `
                     empty alone waiting waiting+ member older stranger
  empty              jj    jm    jj      jj       jm-   jm-   jm
  alone              mj    X     mj      mj       X     X     X
  waiting            jj    jm    jj      jj       mm    mm    jm
  waiting_with_store jj    jm    jj      jj       mm    mm    jm
  member             mj-   X     mm      mm       mm    mm    ms-
  older              mj-   X     mm      mm       mm    mm    mm?
  stranger           mj    X     mj      mj       sm-   mm?   mm?
`;

test('for every pair of disks there is one decision, and this is it', () => {
  const rows = table
    .trim()
    .split('\n')
    .slice(1)
    .map((row) => row.trim().split(/\s+/).slice(1));
  kinds.forEach((a, i) => {
    kinds.forEach((b, j) => {
      const wanted = rows[i]![j]!;
      // Two records of one generation that do not name each other: never written by us; the first one counts.
      if (wanted.endsWith('?')) return;
      const verdict = judgeDisks([found(a, 'a', ['a', 'b']), found(b, 'b', ['a', 'b'])]);
      const text =
        verdict.kind === 'refuse'
          ? 'X'
          : verdict.parts.map((part) => part[0]).join('') + '-'.repeat(verdict.missing.length);
      assert.is(text, wanted, `${a}, ${b}`);
    });
  });
});

test('the highest generation counts, and what it does not name is stale', () => {
  const disks = [
    { record: recordOf('a', 7, ['a', 'b'], true), hasStore: true },
    { record: recordOf('b', 6, ['a', 'b', 'c']), hasStore: true },
    { record: recordOf('c', 6, ['a', 'b', 'c']), hasStore: true },
  ];
  const verdict = judgeDisks(disks);
  assert.is(verdict.kind, 'open');
  if (verdict.kind !== 'open') return;
  assert.equal(verdict.parts, ['member', 'member', 'stale']);
  assert.equal(verdict.missing, []);
  assert.is(verdict.record?.incomplete, true);
});

test('one disk under two names is refused', () => {
  const twice = { record: recordOf('a', 3, ['a', 'b']), hasStore: true };
  assert.is(judgeDisks([twice, twice]).kind, 'refuse');
});

test.run();
