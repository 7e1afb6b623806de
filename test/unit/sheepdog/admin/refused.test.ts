import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Logger, silentLogger } from '../../../../src/base/log.js';
import { adminOperations } from '../../../../src/sheepdog/admin/admin-operations.js';
import { Op } from '../../../../src/wire/sheepdog.js';
import { fakeFacts, requestOf } from './fixture.js';

test('a refusal is a warning with its reason once, and no flood', async () => {
  const warned: object[] = [];
  let debugged = 0;
  const log: Logger = {
    ...silentLogger,
    warn: (fields) => void warned.push(fields),
    debug: () => void debugged++,
  };
  const operations = adminOperations(fakeFacts().facts, log);
  for (let i = 0; i < 100; i++) {
    await operations.get(Op.MD_PLUG)!(requestOf(Op.MD_PLUG));
    await operations.get(Op.REWEIGHT)!(requestOf(Op.REWEIGHT));
  }
  assert.equal(warned, [
    {
      operation: 'MD_PLUG',
      reason:
        'disks are plugged by `dog node md plug` on the machine itself: who reaches a port names no paths',
    },
    {
      operation: 'REWEIGHT',
      reason: 'weights of nodes are set one by one, and do not follow the size of their disks',
    },
  ]);
  assert.is(debugged, 198);
});

test.run();
