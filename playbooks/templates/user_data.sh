#!/bin/bash
# ops-service: {{ service }}
# Runs the service {{ name }} as a container. Secrets are looked up in SSM whenever it starts, and are not in this text.
set -euo pipefail

dnf install -y docker
systemctl enable --now docker

install -d -m 0700 /etc/{{ name }}
cat > /etc/{{ name }}/plain.env <<'PLAIN'
LISTEN=0.0.0.0:{{ port }}
{%- for variable in plain %}
{{ variable.key }}={{ variable.value }}
{%- endfor %}
PLAIN

cat > /etc/{{ name }}/resolve <<'RESOLVE'
#!/bin/bash
# Writes the environment of the service, mode 0600, with every secret in its place; fails while one is not there yet.
set -euo pipefail
umask 077
cp /etc/{{ name }}/plain.env /run/{{ name }}.env.new
{%- for variable in references %}
value=$(aws ssm get-parameter --region '{{ region }}' --name '{{ variable.path }}' --with-decryption --query Parameter.Value --output text)
printf '%s=%s\n' '{{ variable.key }}' "$value" >> /run/{{ name }}.env.new
{%- endfor %}
mv /run/{{ name }}.env.new /run/{{ name }}.env
RESOLVE
chmod 0700 /etc/{{ name }}/resolve

cat > /etc/systemd/system/{{ name }}.service <<'UNIT'
[Unit]
Description={{ name }}
After=docker.service network-online.target
Requires=docker.service
Wants=network-online.target

[Service]
ExecStartPre=/etc/{{ name }}/resolve
ExecStartPre=-/usr/bin/docker rm -f {{ name }}
ExecStart=/usr/bin/docker run --name {{ name }} --env-file /run/{{ name }}.env -p {{ port }}:{{ port }} {{ image }}
ExecStop=/usr/bin/docker stop -t 70 {{ name }}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now {{ name }}.service
