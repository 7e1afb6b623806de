/** What a sheep tells the doctor: which sets of holders are in trouble, and since when. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AuthorityHistory, defaultMinCopies } from '../../../src/cluster/epochs/authority.js';
import type { EpochNode, EpochRecord } from '../../../src/cluster/epochs/epoch.js';
import { ClusterView } from '../../../src/cluster/epochs/view.js';
import { sinceWallMs, troubledSets } from '../../../src/control/doctor-calls.js';

function node(id: number): EpochNode {
  return {
    id: `n${id}`,
    host: '127.0.0.1',
    port: 7000 + id,
    zone: id,
    vnodes: 16,
    hostId: 'h',
    bootId: 'b',
    incarnation: `i${id}`,
    in: true,
    up: true,
    upSince: 1,
    placed: { zone: id, vnodes: 16 },
  };
}

type Alter = (node: EpochNode) => Partial<EpochNode>;

/** Three sheep: first all well, then what each step makes of the step before. */
function history(...steps: Alter[]): EpochRecord[] {
  const first: EpochRecord = {
    epoch: 1,
    wallMs: 1000,
    base: 1,
    ran: true,
    nodes: [0, 1, 2].map((i) => node(i)),
  };
  const records = [first];
  for (const [i, alter] of steps.entries()) {
    const nodes = records[i]!.nodes.map((n) => ({ ...n, ...alter(n) }));
    records.push({ ...first, epoch: i + 2, wallMs: 1000 * (i + 2), nodes });
  }
  return records;
}

const down =
  (...ids: string[]): Alter =>
  (n) =>
    ids.includes(n.id) && n.up ? { up: false, behindSince: n.behindSince ?? 1 } : {};

const view = (records: EpochRecord[]) =>
  new ClusterView(new AuthorityHistory(records), 'n0', defaultMinCopies);

test('when all are well there are no sets to tell of', () => {
  assert.equal(troubledSets(view(history()), [3]), []);
});

test('one of three down: nothing waits, nobody is alone', () => {
  const [sets] = troubledSets(view(history(down('n1'))), [3]);
  assert.equal(sets, { copies: 3, awaited: [], alone: [] });
});

test('two of three down: writes wait, and the last one is alone', () => {
  const [sets] = troubledSets(view(history(down('n1'), down('n2'))), [3]);
  assert.equal(sets, { copies: 3, awaited: [], blocked: { have: 1, needed: 2 }, alone: ['n0'] });
});

test('the ones that went last are awaited when only the first one is back', () => {
  const back: Alter = (n) => (n.id === 'n1' ? { up: true, upSince: 4 } : { up: false, behindSince: 2 });
  const [sets] = troubledSets(view(history(down('n1'), () => ({}), back)), [3]);
  assert.equal(
    sets?.awaited.map((ids) => [...ids].sort()),
    [['n0', 'n2']],
  );
});

test('where all that had the newest content lost it, nobody is awaited', () => {
  const lost: Alter = (n) => (n.id === 'n1' ? { up: true, upSince: 4 } : { up: false, incomplete: true });
  const [sets] = troubledSets(view(history(down('n1'), () => ({}), lost)), [3]);
  assert.equal(sets?.awaited, [[]]);
});

test('since when: the beginning of the newest run of epochs in which it is so', () => {
  const up: Alter = (n) => ({ up: true, upSince: 3, ...(n.id === 'n1' && { maintenance: true }) });
  const records = history(down('n1'), up, down('n1'), down('n2'), () => ({})).reverse();
  assert.is(
    sinceWallMs(records, 'n1', (n) => !n.up),
    4000,
  );
  assert.is(
    sinceWallMs(records, 'n2', (n) => !n.up),
    5000,
  );
  assert.is(
    sinceWallMs(records, 'n1', (n) => n.maintenance === true),
    3000,
  );
});

test.run();
