import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import type { Coordinator, Op } from '../../../src/coord/coordinator.js';
import { KeyValueState } from '../../../src/coord/key-value-state.js';
import { WatchHub } from '../../../src/coord/watch-hub.js';
import { Directory } from '../../../src/volume/directory.js';
import { keys, type VdiRecord } from '../../../src/volume/records.js';
import { put } from '../../../src/volume/version-records.js';
import { versionRecord } from './fake-client.js';

const VIDS = 40;
const LINES = ['000000000001', '000000000002', '000000000003'];
const byVid = (a: VdiRecord, b: VdiRecord): number => a.vid - b.vid;

/** One process's own state and watches, without a log. */
function coordinatorInMemory(): Pick<Coordinator, 'list' | 'txn' | 'watch'> {
  const state = new KeyValueState();
  const hub = new WatchHub(0);
  return {
    list: async (prefix) => ({ entries: state.list(prefix), revision: state.revision }),
    txn: async (compares, ops) => {
      const { result, change } = state.txn(compares, ops);
      if (change !== undefined) hub.publish(change);
      return result;
    },
    watch: (prefix, afterRevision, onEvents) => hub.watch(prefix, afterRevision, onEvents),
  };
}

test('families, lines and all versions are what the records say, after any changes', async () => {
  const random = new SeededRandom(5);
  const coordinator = coordinatorInMemory();
  const present = new Map<number, VdiRecord>();
  const write = async () => {
    const ops: Op[] = [];
    for (let count = 1 + random.below(4); count > 0; count--) {
      const vid = 1 + random.below(VIDS);
      if (random.chance(0.3)) {
        present.delete(vid);
        ops.push({ type: 'delete', key: keys.vdi(vid) });
        continue;
      }
      // A vid is given out again, to another family and line.
      const record = versionRecord(vid, 1024, {
        line: LINES[random.below(LINES.length)]!,
        root: 1 + random.below(5),
        snapshotMs: random.below(2),
        state: random.chance(0.5) ? 'live' : 'deleted',
      });
      present.set(vid, record);
      ops.push(put(record));
    }
    return (await coordinator.txn([], ops)).revision;
  };
  for (let before = 0; before < 5; before++) await write();
  const directory = new Directory(coordinator as Coordinator);
  const gone: number[] = [];
  directory.onGone = (vid) => void gone.push(vid);
  await directory.start();
  for (let round = 0; round < 300; round++) {
    const had = new Set(present.keys());
    gone.length = 0;
    await directory.seen(await write());
    const all = [...present.values()].sort(byVid);
    assert.equal(directory.vdis().sort(byVid), all);
    for (const line of LINES) {
      const ofLine = all.filter((record) => record.line === line);
      assert.equal(directory.versionsOf(line).sort(byVid), ofLine);
    }
    for (let root = 1; root <= 5; root++) {
      const family = all.filter((record) => record.root === root);
      assert.equal([...directory.family(root).values()].sort(byVid), family);
    }
    const missing = [...had].filter((vid) => !present.has(vid) && !gone.includes(vid));
    assert.equal(missing, [], 'told of all that are gone');
    assert.not(gone.some((vid) => present.has(vid)));
  }
  directory.stop();
});

test.run();
