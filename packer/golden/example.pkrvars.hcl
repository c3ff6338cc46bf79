# packer build -var-file=packer/golden/example.pkrvars.hcl packer/golden
vmid       = 9100
output_dir = "output-golden"
script_env = ["SITE=Example Street 1"]
