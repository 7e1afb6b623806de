/** Who is let in: by the kernel's word on who connects. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Daemon } from '../../../pool-backend/daemon.js';
import { groupId, userId } from '../../../pool-backend/server/listener.js';
import { peerCredentials } from '../../../pool-backend/server/peer-credentials.js';
import { silentLogger } from '../../../src/base/log.js';

const NOBODY = 65_534;
/** Asks for the kinds of authentication, and says how many bytes were answered. */
const ASK = `
  const socket = require('node:net').connect(process.argv[1]);
  let bytes = 0;
  socket.on('connect', () => socket.write(Buffer.from('0000001c2000808600000001000000420000000000000001' +
    '00000000', 'hex')));
  socket.on('data', (chunk) => { bytes += chunk.length; socket.destroy(); });
  socket.on('error', () => {});
  socket.on('close', () => { console.log(bytes); });`;

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-access-'));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function answeredBytes(path: string, uid: number): Promise<number> {
  const child = spawn(process.execPath, ['-e', ASK, path], { uid, stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve) => child.stdout.on('data', (chunk: Buffer) => resolve(Number(chunk))));
}

test('the kernel says who is at the other end', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'sock');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    const client = connect(path);
    const socket = await accepted;
    const { pid, getuid, getgid } = process;
    assert.equal(peerCredentials(socket), { pid, uid: getuid!(), gid: getgid!() });
    client.destroy();
    socket.destroy();
    server.close();
  }));

const asRoot = process.getuid?.() === 0 ? test : test.skip;
asRoot('with named users nobody else is served, whatever the mode of the socket', () =>
  inFolder(async (folder) => {
    chmodSync(folder, 0o755);
    for (const [users, answered] of [
      [undefined, true],
      [[NOBODY], true],
      [[NOBODY - 1], false],
    ] as const) {
      const socket = join(folder, 'sock');
      const daemon = await Daemon.start({
        socket,
        socketMode: 0o666,
        readOnlyMode: 0o666,
        configFolder: join(folder, 'config'),
        stateFolder: join(folder, 'state'),
        log: silentLogger,
        ...(users !== undefined && { users }),
      });
      assert.is((await answeredBytes(socket, NOBODY)) > 0, answered, JSON.stringify(users));
      assert.ok((await answeredBytes(socket, 0)) > 0, 'root is let in');
      daemon.stop();
    }
  }),
);

test('users and groups are known by name or number', () => {
  assert.is(userId('root'), 0);
  assert.is(groupId('root'), 0);
  assert.is(groupId('4711'), 4711);
  assert.throws(() => userId('no such user'), /there is no user/);
});

test.run();
