// run: quick
/** etcd with TLS that wants certificates, and with users: addresses say what is needed. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import { silentLogger } from '../../src/base/log.js';
import { systemRandom } from '../../src/base/random.js';
import { parseEtcdAddress } from '../../src/coord/etcd/address.js';
import { EtcdCoordinator } from '../../src/coord/etcd/etcd-coordinator.js';
import { put, rejectsWith } from '../helpers/coordinator-suite.js';
import { FakeProcesses } from '../helpers/coordinator-worlds.js';
import { EtcdCluster } from '../helpers/etcd-cluster.js';
import { requires } from '../helpers/requires.js';

const withEtcd = requires(test, 'etcd', 'etcdctl', 'openssl');

function open(address: string): Promise<EtcdCoordinator> {
  return EtcdCoordinator.open({
    address: parseEtcdAddress(address),
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    processes: new FakeProcesses().of('host/x'),
    startLimitMs: 3000,
  });
}

async function mustWork(address: string): Promise<void> {
  const coordinator = await open(address);
  try {
    const { revision } = await coordinator.list('');
    const seen = new Promise<void>((resolve) => void coordinator.watch('k', revision, () => resolve()));
    const lease = await coordinator.grantLease(2000);
    assert.ok((await coordinator.txn([], [put('k', 'v', lease.id)])).ok);
    await seen;
    await lease.revoke();
    assert.is(await coordinator.get('k'), undefined);
  } finally {
    await coordinator.close();
  }
}

/** An authority, a certificate for 127.0.0.1 and one for a client. */
function makeCertificates(folder: string): Record<'ca' | 'server' | 'client', { cert: string; key: string }> {
  const of = (name: string) => ({ cert: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) });
  const run = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'ignore' });
  const ca = of('ca');
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  run('req', '-x509', ...fresh, '-days', '2', '-subj', '/CN=test', '-keyout', ca.key, '-out', ca.cert);
  const extensions = join(folder, 'extensions');
  writeFileSync(extensions, 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
  for (const name of ['server', 'client']) {
    const { cert, key } = of(name);
    const request = join(folder, `${name}.csr`);
    run('req', ...fresh, '-subj', `/CN=${name}`, '-keyout', key, '-out', request);
    const signer = ['-CA', ca.cert, '-CAkey', ca.key, '-CAcreateserial', '-days', '2'];
    run('x509', '-req', '-in', request, ...signer, '-extfile', extensions, '-out', cert);
  }
  return { ca, server: of('server'), client: of('client') };
}

withEtcd('etcd that wants TLS and a certificate is used with those of the address', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-tls-'));
  const { ca, server, client } = makeCertificates(folder);
  const etcd = await EtcdCluster.start({
    tls: client,
    ca: ca.cert,
    more: [
      ...['--cert-file', server.cert, '--key-file', server.key],
      ...['--client-cert-auth', '--trusted-ca-file', ca.cert],
    ],
  });
  try {
    const address = etcd.address('fold');
    await mustWork(`${address}?ca=${ca.cert}&cert=${client.cert}&key=${client.key}`);
    await rejectsWith('network', open(`${address}?ca=${ca.cert}`));
    await rejectsWith('network', open(address));
    await rejectsWith('usage', open(`${address}?ca=${folder}/none`));
  } finally {
    await etcd.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Passwords take etcd a while to check: on a busy machine it may not answer in time, which is no refusal. */
async function isRefused(address: string): Promise<void> {
  let code = 'network';
  for (let tries = 0; tries < 5 && code === 'network'; tries++) {
    code = await open(address).then(
      () => 'resolved',
      (error) => AppError.from(error).code,
    );
  }
  assert.is(code, 'system');
}

withEtcd('etcd with users is used with the one of the address, within its rights', async () => {
  const etcd = await EtcdCluster.start();
  try {
    for (const command of [
      'user add root:top',
      'user grant-role root root',
      'role add fold',
      'role grant-permission fold --prefix=true readwrite /sheepfold/fold/',
      'user add sheep:w%ol',
      'user grant-role sheep fold',
      'auth enable',
    ]) {
      await etcd.ctl(command.split(' '));
    }
    const [, hosts] = etcd.address('fold').split('//');
    await mustWork(`etcd://sheep:w%25ol@${hosts}`);
    await isRefused(`etcd://sheep:wrong@${hosts}`);
    await isRefused(`etcd://${hosts}`);
    await isRefused(`etcd://sheep:w%25ol@${hosts!.replace('fold', 'other')}`);
  } finally {
    await etcd.stop();
  }
});

test.run();
