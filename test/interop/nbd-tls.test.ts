// run: quick
/** TLS with the GnuTLS clients that people use: libnbd's tools and QEMU's, with certificates and pre-shared keys. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parsePskFile } from '../../src/nbd/psk-file.js';
import type { TlsCredentials } from '../../src/nbd/tls.js';
import { requires } from '../helpers/requires.js';
import { type InteropServer, mustRun, startServer, tool } from './nbd-setup.js';

const SIZE = 1024 * 1024;
const withPsk = requires(test, 'nbdinfo', 'psktool');
const withQemuPsk = requires(test, 'qemu-img', 'psktool');
const withCertificates = requires(test, 'nbdinfo', 'certtool');
const withQemuCertificates = requires(test, 'qemu-img', 'certtool');

let plain: InteropServer;
let doors: InteropServer[] = [];
test.before.each(async () => {
  plain = await startServer();
  doors = [plain];
});
test.after.each(async () => {
  for (const door of doors) await door.close();
});

async function startTls(mode: 'optional' | 'require', credentials: TlsCredentials): Promise<InteropServer> {
  const door = await startServer({ tls: { mode, credentials } });
  door.provider.add('disk', SIZE);
  doors.push(door);
  return door;
}

async function makeKeys(): Promise<{ dir: string; file: string; credentials: TlsCredentials }> {
  const dir = join(plain.folder, 'psk');
  mkdirSync(dir);
  const file = join(dir, 'keys.psk');
  await mustRun('psktool', '-u', 'alice', '-p', file);
  await mustRun('psktool', '-u', 'qemu', '-p', file);
  return { dir, file, credentials: { type: 'psk', keys: parsePskFile(readFileSync(file, 'utf8')) } };
}

/** A folder as GnuTLS clients expect it (ca-cert.pem, client-cert.pem, client-key.pem) and the server's pair. */
async function makeCertificates(): Promise<{ dir: string; caPem: string; certPem: string; keyPem: string }> {
  const dir = join(plain.folder, 'pki');
  mkdirSync(dir);
  const at = (name: string): string => join(dir, name);
  const sign = ['--load-ca-certificate', at('ca-cert.pem'), '--load-ca-privkey', at('ca-key.pem')];
  const names = 'dns_name = localhost\nip_address = 127.0.0.1\n';
  const templates: Record<string, string> = {
    ca: 'cn = test authority\nca\ncert_signing_key\nexpiration_days = 30\n',
    server: `cn = localhost\n${names}tls_www_server\nsigning_key\nexpiration_days = 30\n`,
    client: 'cn = client\ntls_www_client\nsigning_key\nexpiration_days = 30\n',
  };
  for (const [name, template] of Object.entries(templates)) {
    writeFileSync(at(`${name}.info`), template);
    await mustRun('certtool', '--generate-privkey', '--key-type=ecdsa', '--outfile', at(`${name}-key.pem`));
    const kind = name === 'ca' ? ['--generate-self-signed'] : ['--generate-certificate', ...sign];
    const files = ['--load-privkey', at(`${name}-key.pem`), '--template', at(`${name}.info`)];
    await mustRun('certtool', ...kind, ...files, '--outfile', at(`${name}-cert.pem`));
  }
  const read = (name: string): string => readFileSync(at(name), 'utf8');
  return {
    dir,
    caPem: read('ca-cert.pem'),
    certPem: read('server-cert.pem'),
    keyPem: read('server-key.pem'),
  };
}

function qemuImage(door: InteropServer, host: string): string[] {
  return [
    '--image-opts',
    `driver=nbd,server.type=inet,server.host=${host},server.port=${door.port},export=disk,tls-creds=tls0`,
  ];
}

withPsk('nbdinfo connects with a pre-shared key over TCP and the unix socket', async () => {
  const { file, credentials } = await makeKeys();
  const door = await startTls('require', credentials);
  const tcp = `nbds://alice@127.0.0.1:${door.port}/disk?tls-psk-file=${file}`;
  const info = JSON.parse(await mustRun('nbdinfo', '--json', tcp)) as Record<string, unknown>;
  assert.is(info.TLS, true);
  const unix = `nbds+unix://alice@/disk?socket=${join(door.folder, 'nbd.sock')}&tls-psk-file=${file}`;
  assert.is((await mustRun('nbdinfo', '--size', unix)).trim(), String(SIZE));
});

withPsk('a wrong key, an unknown user and a client without TLS are turned away', async () => {
  const { file, dir, credentials } = await makeKeys();
  const door = await startTls('require', credentials);
  const other = join(dir, 'other.psk');
  writeFileSync(other, `alice:${'00'.repeat(32)}\nmallory:${'00'.repeat(32)}\n`);
  const uri = (user: string, keys: string): string =>
    `nbds://${user}@127.0.0.1:${door.port}/disk?tls-psk-file=${keys}`;
  assert.is.not((await tool('nbdinfo', uri('alice', other))).code, 0);
  assert.is.not((await tool('nbdinfo', uri('mallory', other))).code, 0);
  const bare = await tool('nbdinfo', `nbd://127.0.0.1:${door.port}/disk`);
  assert.is.not(bare.code, 0);
  assert.match(bare.output, 'TLS');
  assert.is((await tool('nbdinfo', uri('alice', file))).code, 0);
  assert.is(door.provider.opened, 1);
});

withPsk('with TLS optional a plain client is served too', async () => {
  const { file, credentials } = await makeKeys();
  const door = await startTls('optional', credentials);
  await mustRun('nbdinfo', `nbd://127.0.0.1:${door.port}/disk`);
  await mustRun('nbdinfo', `nbds://alice@127.0.0.1:${door.port}/disk?tls-psk-file=${file}`);
});

withPsk('a client that knows only TLS 1.2 agrees on a key exchange too', async () => {
  const { file, credentials } = await makeKeys();
  const door = await startTls('require', credentials);
  const uri = `nbds://alice@127.0.0.1:${door.port}/disk?tls-psk-file=${file}`;
  const priority = join(door.folder, 'priority');
  writeFileSync(priority, '[overrides]\ndisabled-version = tls1.3\n');
  const command = [`GNUTLS_SYSTEM_PRIORITY_FILE=${priority}`, 'nbdinfo', '--size', uri];
  assert.is((await mustRun('env', ...command)).trim(), String(SIZE));
});

withQemuPsk('qemu-img copies both ways through a pre-shared key', async () => {
  const { dir, credentials } = await makeKeys();
  const door = await startTls('require', credentials);
  const object = ['--object', `tls-creds-psk,id=tls0,endpoint=client,dir=${dir},username=qemu`];
  const image = qemuImage(door, '127.0.0.1');
  const info = await mustRun('qemu-img', 'info', ...object, '--output=json', ...image);
  assert.is((JSON.parse(info) as { 'virtual-size': number })['virtual-size'], SIZE);
  const source = join(door.folder, 'source');
  writeFileSync(source, randomBytes(SIZE));
  const target = ['--target-image-opts', source, image[1]!];
  await mustRun('qemu-img', 'convert', ...object, '-n', '-f', 'raw', ...target);
  const back = join(door.folder, 'back');
  await mustRun('qemu-img', 'convert', ...object, '-O', 'raw', ...image, back);
  assert.is(Buffer.compare(readFileSync(back), readFileSync(source)), 0);
});

withCertificates('nbdinfo and nbdcopy connect with certificates', async () => {
  const { dir, certPem, keyPem } = await makeCertificates();
  const door = await startTls('require', { type: 'certificate', certPem, keyPem });
  const volume = door.provider.volumes.get('disk')!;
  volume.write(4096, Buffer.from('secret bytes'));
  const uri = `nbds://localhost:${door.port}/disk?tls-certificates=${dir}`;
  assert.is((await mustRun('nbdinfo', '--size', uri)).trim(), String(SIZE));
  const back = join(door.folder, 'back');
  await mustRun('nbdcopy', uri, back);
  assert.is(readFileSync(back).subarray(4096, 4108).toString(), 'secret bytes');
});

withCertificates('a client certificate is demanded and verified when an authority is given', async () => {
  const { dir, caPem, certPem, keyPem } = await makeCertificates();
  const door = await startTls('require', { type: 'certificate', certPem, keyPem, clientCaPem: caPem });
  const uri = (folder: string): string => `nbds://localhost:${door.port}/disk?tls-certificates=${folder}`;
  assert.is((await mustRun('nbdinfo', '--size', uri(dir))).trim(), String(SIZE));
  const bare = join(door.folder, 'bare');
  mkdirSync(bare);
  writeFileSync(join(bare, 'ca-cert.pem'), caPem);
  assert.is.not((await tool('nbdinfo', uri(bare))).code, 0);
  const forged = join(door.folder, 'forged');
  mkdirSync(forged);
  writeFileSync(join(forged, 'ca-cert.pem'), caPem);
  writeFileSync(join(forged, 'self.info'), 'cn = client\ntls_www_client\nsigning_key\nexpiration_days = 3\n');
  const key = join(forged, 'client-key.pem');
  await mustRun('certtool', '--generate-privkey', '--key-type=ecdsa', '--outfile', key);
  const files = ['--load-privkey', key, '--template', join(forged, 'self.info')];
  await mustRun('certtool', '--generate-self-signed', ...files, '--outfile', join(forged, 'client-cert.pem'));
  assert.is.not((await tool('nbdinfo', uri(forged))).code, 0);
  assert.is(door.provider.opened, 1);
});

withQemuCertificates('qemu-img connects with certificates on both sides', async () => {
  const { dir, caPem, certPem, keyPem } = await makeCertificates();
  const door = await startTls('require', { type: 'certificate', certPem, keyPem, clientCaPem: caPem });
  const object = ['--object', `tls-creds-x509,id=tls0,endpoint=client,dir=${dir}`];
  const info = await mustRun('qemu-img', 'info', ...object, '--output=json', ...qemuImage(door, 'localhost'));
  assert.is((JSON.parse(info) as { 'virtual-size': number })['virtual-size'], SIZE);
});

test.run();
