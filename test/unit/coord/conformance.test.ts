import { test } from 'uvu';
import { coordinatorSuite } from '../../helpers/coordinator-suite.js';
import { FakeLocalWorld, MemoryWorld, realLocalWorld } from '../../helpers/coordinator-worlds.js';

coordinatorSuite(test, 'memory', () => new MemoryWorld());
coordinatorSuite(test, 'memory, dead holders end at ttl', () => new MemoryWorld('at-ttl'));
coordinatorSuite(test, 'local on a fake disk', () => new FakeLocalWorld());
coordinatorSuite(test, 'local on a fake disk, a new log every 7 records', () => {
  return new FakeLocalWorld(2, { rotateRecords: 7 });
});
coordinatorSuite(test, 'local on a real disk', () => realLocalWorld());

test.run();
