// What probes and hooks talk to. Usage: node probes.server.mjs DIR ADDRESS
// Serves http, https (DIR/key.pem, DIR/cert.pem) and gRPC health (HTTP/2 without TLS) on ports of its own; writes them to
// DIR/ports as shell assignments when all are open. Every request to /say/TEXT is a line TEXT in DIR/said.
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';

const [dir, address] = process.argv.slice(2);

function answer(req, res) {
    const url = new URL(req.url, 'http://x');
    const [, what, rest] = url.pathname.split('/');
    let code = 404;
    if (what === 'say') {
        fs.appendFileSync(`${dir}/said`, `${rest}${url.search}\n`);
        code = 200;
    } else if (what === 'status') {
        code = Number(rest);
    } else if (what === 'headers') {
        const h = req.headers;
        const good = h['x-probe'] === 'one two' && h.host === 'virtual.example' && h['user-agent'] === 'davit-test' && h.accept === 'text/plain';
        fs.writeFileSync(`${dir}/headers`, JSON.stringify(h));
        code = good ? 200 : 400;
    } else if (what === 'usual') {
        code = /^kube-probe\//.test(req.headers['user-agent'] ?? '') && req.headers.accept === '*/*' ? 200 : 400;
    } else if (what === 'redirect') {
        res.writeHead(302, { location: '/status/204' });
        return res.end();
    } else if (what === 'stall') {
        return; // never
    }
    res.writeHead(code);
    res.end('said so\n');
}

// grpc.health.v1.Health/Check: service "up" serves, "down" does not, "switch" serves while DIR/switch exists,
// "stall" never answers, others are unknown (a trailers-only answer, as gRPC servers give).
function health(stream, headers) {
    const parts = [];
    stream.on('error', () => {});
    stream.on('data', (d) => parts.push(d));
    stream.on('end', () => {
        const body = Buffer.concat(parts);
        const good = headers[':path'] === '/grpc.health.v1.Health/Check' && headers[':method'] === 'POST' &&
            headers['content-type'] === 'application/grpc' && headers.te === 'trailers' &&
            body.length >= 5 && body.readUInt32BE(1) === body.length - 5;
        const service = body.length > 7 ? body.subarray(7).toString() : '';
        const type = { ':status': 200, 'content-type': 'application/grpc' };
        const known = ['', 'up', 'down', 'switch'];
        if (service === 'stall')
            return;
        if (!good || !known.includes(service)) {
            stream.respond({ ...type, 'grpc-status': good ? 5 : 13, 'grpc-message': 'unknown service' }, { endStream: true });
            return;
        }
        const up = service === 'switch' ? fs.existsSync(`${dir}/switch`) : service !== 'down';
        stream.respond(type, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(Buffer.from([0, 0, 0, 0, 2, 8, up ? 1 : 2]));
    });
}

const servers = {
    HTTP: http.createServer(answer),
    HTTPS: https.createServer({ key: fs.readFileSync(`${dir}/key.pem`), cert: fs.readFileSync(`${dir}/cert.pem`) }, answer),
    GRPC: http2.createServer().on('stream', health),
};
let lines = '';
for (const [name, server] of Object.entries(servers)) {
    await new Promise((ok) => server.listen(0, address, ok));
    lines += `${name}_PORT=${server.address().port}\n`;
}
fs.writeFileSync(`${dir}/ports.new`, lines);
fs.renameSync(`${dir}/ports.new`, `${dir}/ports`);
