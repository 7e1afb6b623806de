import { readFileSync } from 'node:fs';
import { Exit, exitCodes } from '../exit.js';

/**
 * What a host needs to know to join a cluster, as one word: base64url of JSON. Whoever has it can reach the cluster's
 * etcd as its sheep do: it is a secret when etcd asks for a password or a certificate.
 *
 * | Field         | Meaning                                                                          |
 * | ------------- | -------------------------------------------------------------------------------- |
 * | `v`           | 1                                                                                |
 * | `coordinator` | address of etcd; the files it names are those below                              |
 * | `cluster`     | id of the cluster                                                                |
 * | `expires`     | milliseconds since 1970; a reminder, not a lock                                  |
 * | `files`       | contents of the files that the address names, by option: ca, cert, key, password-file |
 */
export interface JoinToken {
  readonly v: 1;
  readonly coordinator: string;
  readonly cluster: string;
  readonly expires: number;
  readonly files: Readonly<Record<string, string>>;
}

const PREFIX = 'sheepfold-';
const FILE_OPTION = /([?&](ca|cert|key|password-file)=)([^&]*)/g;

export function formatToken(token: JoinToken): string {
  return PREFIX + Buffer.from(JSON.stringify(token)).toString('base64url');
}

/** Throws Exit. */
export function parseToken(text: string, nowMs: number): JoinToken {
  const wrong = new Exit(exitCodes.usage, 'This is not a token for joining a cluster', {
    hint: "'dog cluster token', on a host of the cluster, prints one.",
  });
  if (!text.startsWith(PREFIX)) throw wrong;
  let token: JoinToken;
  try {
    token = JSON.parse(Buffer.from(text.slice(PREFIX.length), 'base64url').toString()) as JoinToken;
  } catch {
    throw wrong;
  }
  const isWhole =
    token.v === 1 &&
    /^etcds?:\/\//.test(token.coordinator) &&
    typeof token.cluster === 'string' &&
    Object.entries(token.files).every(([name, value]) => /^[a-z-]+$/.test(name) && typeof value === 'string');
  if (!isWhole) throw wrong;
  if (token.expires < nowMs) {
    throw new Exit(exitCodes.failure, `The token was good until ${new Date(token.expires).toISOString()}`, {
      hint: "'dog cluster token', on a host of the cluster, prints a new one.",
    });
  }
  return token;
}

/** The contents of the files that an address names. Throws Exit. */
export function readAddressFiles(address: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const [, , name, path] of address.matchAll(FILE_OPTION)) {
    try {
      files[name!] = readFileSync(decodeURIComponent(path!), 'utf8');
    } catch (error) {
      throw new Exit(exitCodes.failure, `Cannot read the ${name} of etcd: ${(error as Error).message}`);
    }
  }
  return files;
}

/** The same address with other files. */
export function withFiles(address: string, pathOf: (option: string) => string): string {
  return address.replace(FILE_OPTION, (_, before: string, name: string) => before + encodeURI(pathOf(name)));
}

/** Host and port of each member of etcd. */
export function endpointsOf(address: string): { host: string; port: number }[] {
  const hosts = address.replace(/^etcds?:\/\/(?:[^@/]*@)?/, '').split(/[/?]/)[0]!;
  return hosts.split(',').map((text) => {
    const [, host, port] = /^(.*?)(?::(\d+))?$/.exec(text)!;
    return { host: host!.replace(/^\[|\]$/g, ''), port: Number(port ?? 2379) };
  });
}
