// deadline: 600 s
/** Splits of the room (I-3): see split-run.ts. */
import { test } from 'uvu';
import { hostTest } from './requires.js';
import { runSplit } from './split-run.js';

hostTest(
  'two and two of four, one side with the majority of etcd: the other acknowledges nothing',
  () =>
    runSplit({
      // Every object has a copy on the side that wins, and one is enough to go on.
      room: { zones: [0, 1, 2, 3], copies: 3, minCopies: 1, etcdOn: [0, 1, 2] },
      losing: [[2, 3]],
      winning: [0, 1],
    }),
  'etcd',
);

hostTest(
  'two and two of four, neither with a majority of etcd: nobody acknowledges anything',
  () =>
    runSplit({
      room: { zones: [0, 1, 2, 3], copies: 2, etcdOn: [0, 1, 2, 3] },
      losing: [
        [0, 1],
        [2, 3],
      ],
      winning: [],
    }),
  'etcd',
);

hostTest(
  'a minority of one of three acknowledges nothing',
  () =>
    runSplit({
      room: { zones: [0, 1, 2], copies: 3, etcdOn: [0, 1, 2] },
      losing: [[2]],
      winning: [0, 1],
    }),
  'etcd',
);

test.run();
