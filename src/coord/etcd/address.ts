import { readFileSync } from 'node:fs';
import { AppError } from '../../base/errors.js';

/**
 * Where the coordinator of a cluster is in etcd:
 *
 *     etcd://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]...]/NAME[?OPTION=VALUE[&OPTION=VALUE...]]
 *
 * | Option          | Meaning                                                        |
 * | --------------- | -------------------------------------------------------------- |
 * | `ca`            | file with the authorities that sign etcd's certificates (PEM)  |
 * | `cert`, `key`   | files with this client's certificate and private key (PEM)     |
 * | `password-file` | file whose first line is the password                          |
 *
 * `etcds://`, or any of ca, cert, key: TLS. NAME keeps several clusters of sheep in one etcd apart.
 */
export interface EtcdAddress {
  /** host:port, as gRPC wants it. */
  readonly endpoints: readonly string[];
  readonly cluster: string;
  readonly tls: boolean;
  readonly user?: string;
  readonly password?: string;
  readonly files: Readonly<Partial<Record<FileOption, string>>>;
}

const fileOptions = ['ca', 'cert', 'key', 'password-file'] as const;
type FileOption = (typeof fileOptions)[number];

const DEFAULT_PORT = 2379;
const ENDPOINTS_MAX = 32;
const SHAPE = /^etcd(s?):\/\/(?:([^@/]*)@)?([^@/?]+)\/([^/?]*)(?:\?(.*))?$/;

export function isEtcdAddress(text: string): boolean {
  return /^etcds?:\/\//.test(text);
}

/** Throws AppError 'usage' that says what is wrong. */
export function parseEtcdAddress(text: string): EtcdAddress {
  const parts = SHAPE.exec(text);
  const shape = 'etcd://HOST:PORT[,HOST:PORT...]/NAME';
  if (!parts) throw new AppError('usage', `'${withoutPassword(text)}' is not of the form ${shape}`);
  const [, secure, login, hosts, cluster, query = ''] = parts;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(cluster!)) {
    throw new AppError(
      'usage',
      `'${cluster}' is not a name for a cluster: letters, digits, '.', '_' and '-'`,
    );
  }
  const files = parseQuery(query);
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new AppError('usage', 'cert and key of an etcd address belong together');
  }
  const tls = secure === 's' || files.ca !== undefined || files.cert !== undefined;
  const endpoints = [...new Set(hosts!.split(',').map(parseEndpoint))];
  if (endpoints.length > ENDPOINTS_MAX) throw new AppError('usage', 'too many hosts in an etcd address');
  return { endpoints, cluster: cluster!, tls, files, ...parseLogin(login) };
}

/** The same address as text: parseEtcdAddress(formatEtcdAddress(a)) equals a. */
export function formatEtcdAddress(address: EtcdAddress): string {
  const { endpoints, cluster, tls, user, password, files } = address;
  const secret = password === undefined ? '' : `:${encodeURIComponent(password)}`;
  const login = user === undefined ? '' : `${encodeURIComponent(user)}${secret}@`;
  const options = fileOptions.flatMap((name) =>
    files[name] === undefined ? [] : [`${name}=${encodeURIComponent(files[name]).replaceAll('%2F', '/')}`],
  );
  const query = options.length > 0 ? `?${options.join('&')}` : '';
  return `etcd${tls ? 's' : ''}://${login}${endpoints.join(',')}/${cluster}${query}`;
}

/** For logs and people. */
export function withoutPassword(text: string): string {
  return text.replace(/^(etcds?:\/\/[^:@/]*):[^@/]*@/, '$1:***@');
}

/** The password of the user, when there is one. Throws AppError 'usage'. */
export function passwordOf(address: EtcdAddress): string | undefined {
  const file = address.files['password-file'];
  return file === undefined ? address.password : readOption('password-file', file).split(/\r?\n/, 1)[0];
}

/** Reads a file that an address names. Throws AppError 'usage'. */
export function readOption(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new AppError('usage', `${name} of the etcd address: ${AppError.from(error).message}`);
  }
}

function parseEndpoint(text: string): string {
  const parts = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(text);
  const port = Number(parts?.[2] ?? DEFAULT_PORT);
  if (!parts || port < 1 || port > 65535) {
    throw new AppError('usage', `'${text}' is not HOST or HOST:PORT`);
  }
  return `${parts[1]}:${port}`;
}

function parseLogin(login: string | undefined): { user?: string; password?: string } {
  if (login === undefined || login === '') return {};
  const [user, password] = login.split(/:(.*)/s, 2).map(decoded);
  return { user: user!, ...(password !== undefined && { password }) };
}

function parseQuery(query: string): Partial<Record<FileOption, string>> {
  const files: Partial<Record<FileOption, string>> = {};
  for (const part of query.split('&')) {
    if (part === '') continue;
    const [name, value = ''] = part.split(/=(.*)/s, 2).map(decoded);
    if (!fileOptions.includes(name as FileOption) || value === '') {
      throw new AppError('usage', `'${part}': an etcd address takes ${fileOptions.join(', ')}, each a file`);
    }
    files[name as FileOption] = value;
  }
  return files;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new AppError('usage', 'the etcd address is not well encoded: bad percent sign');
  }
}
