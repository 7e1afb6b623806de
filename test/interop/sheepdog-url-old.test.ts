// run: quick
// deadline: 180 s
/** Names, judged by the QEMU that had a sheepdog driver: what it takes and refuses, the helpers take and refuse. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseImageName, serverText } from '../../src/qemu/name.js';
import { requiresOldQemu } from '../helpers/old-qemu.js';
import { ownedProcess, withCluster, within } from '../helpers/real-cluster.js';
import { refusedNames, takenNames } from '../helpers/sheepdog-names.js';
import { assertRefused, helper, img, mustImg, run } from './sheepdog-url-setup.js';

const withOldQemu = requiresOldQemu(test);

/** Standard error without the warning that every call of the old one began with. */
async function complaint(program: string, ...words: string[]): Promise<string> {
  const { stderr } = await run(program, words);
  return stderr.replace('qemu-img: warning: the sheepdog block driver is deprecated\n', '');
}

/** What it does otherwise, and we do not copy: the largest id, and addresses in brackets. */
const unlike = new Set(['sheepdog:x:4294967295', 'sheepdog://[::1]:7001/x']);

withOldQemu('it goes where we go, for every name that is taken', async (old) => {
  for (const [text] of takenNames.filter(([name]) => !unlike.has(name))) {
    const found = /(?:Failed to connect to|address resolution failed for) '?([^'\s]+?)'?: /.exec(
      // No sheep listens on these ports, or hosts have no such names: the address is in the complaint.
      await complaint(old.img, 'info', text.replace('localhost', '127.0.0.1')),
    );
    if (found !== null) assert.is(found[1], serverText(parseImageName(text).server), text);
  }
});

withOldQemu('it refuses what we refuse, with the same words', async (old) => {
  for (const [text, reason] of refusedNames) {
    assert.is(await complaint(old.img, 'info', text), `qemu-img: Could not open '${text}': ${reason}\n`);
  }
});

withOldQemu('complaints about options are the same, word by word', async (old) => {
  const nowhere = 'sheepdog:127.0.0.1:1:x';
  const calls = [
    ['create', nowhere],
    ['create', nowhere, '1X'],
    ['create', nowhere, '9E'],
    ['create', '-o', 'preallocation=metadata', nowhere, '1000'],
    ['create', '-o', 'redundancy=foo', nowhere, '1000'],
    ['create', '-o', 'object_size=3M', nowhere, '1G'],
    ['create', '-o', 'object_size=foo', nowhere, '1G'],
    ['create', '-o', 'foo=1', nowhere, '1G'],
    ['create', '-o', 'size=1G', nowhere, '1G'],
    ['create', '-o', '', nowhere, '5'],
    ['create', '-o', 'redundancy=2,preallocation=full,object_size=8M', nowhere, '1000'],
    ['create', '-b', nowhere, nowhere],
    ['create', '-u', '-F', 'raw', '-b', 'sheepdog:b:t', nowhere, '1M'],
    ['create', '-o', 'help', nowhere],
    ['snapshot', '-l', nowhere],
    ['resize', nowhere, '1X'],
    ['resize', nowhere],
    ['info', '--image-opts', 'driver=sheepdog,vdi=x,server.type=inet,server.host=127.0.0.1,server.port=1'],
    ['info', 'json:{"driver":"sheepdog","vdi":"x"}'],
    ['convert', '/dev/null', nowhere],
    ['dd', 'if=/dev/null', `of=${nowhere}`],
  ];
  for (const words of calls) {
    const [before, now] = await Promise.all([run(old.img, words), img(...words)]);
    const stderr = before.stderr.replace('qemu-img: warning: the sheepdog block driver is deprecated\n', '');
    assert.equal(now, { ...before, stderr }, words.join(' '));
  }
});

withOldQemu('what it has open is refused to who would write, where the cluster keeps locks', async (old) => {
  await withCluster({ deadlineMs: 90_000 }, async (cluster) => {
    await cluster.call('cluster.format', { copies: 3, force: true, ...{ useLock: true } });
    const name = `sheepdog:127.0.0.1:${cluster.sheep[0]!.port}:locked`;
    await mustImg('create', '-q', name, '8M');
    await mustImg('snapshot', '-c', 'before', name);
    const opener = ownedProcess(spawn(old.io, ['-f', 'raw', name], { stdio: ['pipe', 'ignore', 'ignore'] }));
    await within(20_000, 'it has opened the volume', async () => {
      return (await cluster.call('vdi.locks', {})).length === 1;
    });
    const reason = 'cannot get vdi info, VDI is already locked, locked 0 ';
    const image = join(cluster.folder, 'image');
    writeFileSync(image, Buffer.alloc(512));
    for (const words of [
      ['resize', name, '+1M'],
      ['snapshot', '-a', 'before', name],
      ['bench', '-w', '-f', 'raw', '-c', '1', name],
      ['convert', '-n', '-f', 'raw', image, name],
    ]) {
      assertRefused(await img(...words), `qemu-img: Could not open '${name}': ${reason}`);
    }
    assertRefused(
      await helper('qemu-io', '-f', 'raw', '-c', 'write 0 512', name),
      `qemu-io: can't open device ${name}: ${reason}`,
    );
    // Reading, and keeping what there is, are in nobody's way.
    await mustImg('compare', '-f', 'raw', name, `${name}:before`);
    await mustImg('snapshot', '-c', 'meanwhile', name);
    opener.stdin?.end();
    await within(20_000, 'it has closed the volume', async () => {
      return (await cluster.call('vdi.locks', {})).length === 0;
    });
    await mustImg('resize', '-q', name, '+1M');
  });
});

test.run();
