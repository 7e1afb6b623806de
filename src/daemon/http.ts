import { createServer, type Server, type ServerResponse } from 'node:http';
import type { ListenAt } from './handover-sockets.js';
import type { Metrics } from './metrics.js';
import type { SheepCore } from './sheep-core.js';

const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 256;

/**
 * Metrics and health over HTTP: /metrics (Prometheus), /health (200 when this sheep serves, 503 when it waits, with
 * the reasons as JSON), /live (200 while the process answers).
 */
export async function listenHttp(
  address: ListenAt,
  core: () => SheepCore,
  metrics: Metrics,
): Promise<Server> {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      const path = (request.url ?? '/').split('?')[0];
      if (request.method !== 'GET' && request.method !== 'HEAD')
        return send(response, 405, 'text/plain', 'only GET\n');
      if (path === '/metrics') {
        metrics.registry.metrics().then(
          (text) => send(response, 200, metrics.registry.contentType, text),
          () => send(response, 500, 'text/plain', 'metrics failed\n'),
        );
      } else if (path === '/health') sendHealth(response, core());
      else if (path === '/live') send(response, 200, 'text/plain', 'ok\n');
      else send(response, 404, 'text/plain', 'try /metrics, /health or /live\n');
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, resolve);
  });
  return server;
}

function sendHealth(response: ServerResponse, core: SheepCore): void {
  const { status, epoch, waiting, nodes } = core.describe();
  const serving = status === 'running' && core.membership.leaseValid();
  const body = { status, epoch, healthy: core.healthy(), waiting, nodesUp: nodes.filter((n) => n.up).length };
  send(response, serving ? 200 : 503, 'application/json', `${JSON.stringify(body)}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
